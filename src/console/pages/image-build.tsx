/** The steps that built an image, and the configuration that a container of it starts with. */
import type { FC } from 'hono/jsx';
import { Bytes, Facts, FirstRows, Lines, Table, Time } from '../components.tsx';
import type { ShownConfig } from '../image-config.ts';
import type { Descriptor } from '../manifest.ts';

export const Build: FC<{ config: ShownConfig; layers: readonly Descriptor[] }> = ({ config, layers }) => {
  // The steps that have a layer made the layers in this order, the lowest first.
  const sizes = layers.map(({ size }) => size).values();
  const steps = config.steps.map((step) => ({ ...step, size: step.hasLayer ? sizes.next().value : undefined }));
  return (
    <>
      <h2>Configuration</h2>
      <Facts of={[['Built', <Time at={config.created} none="not stated" />]]} />
      <Table
        caption="Settings that a container starts with"
        columns={['Setting', 'Value']}
        rows={config.settings.map(([name, values]) => [name, <Lines of={values} />])}
        empty="The config sets nothing."
      />
      <h2>Build</h2>
      <FirstRows
        caption="Steps of the build, the first one first"
        columns={['Step', 'Done', 'Layer']}
        of={steps}
        row={({ command, created, size }) => [
          <Lines of={[command]} />,
          <Time at={created} none="not stated" />,
          size === undefined ? <span class="faint">none</span> : <Bytes of={size} />,
        ]}
        empty="The config has no history of the build."
      />
    </>
  );
};
