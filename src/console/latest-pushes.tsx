/** The latest pushes that the reader may see. */
import type { FC } from 'hono/jsx';
import type { LatestPush } from './answers.ts';
import { Table, Time } from './components.tsx';
import { imagePath } from './paths.ts';
import { ifSoon, type RegistryClient } from './registry-client.ts';

export interface LatestPushList {
  readonly pushes: readonly LatestPush[];
}

/** Reads them; undefined if central does not answer in time. @throws RegistryError */
export function readLatestPushes(registry: RegistryClient): Promise<LatestPushList | undefined> {
  return ifSoon(registry.get<LatestPushList>('/api/pushes?n=10'));
}

export const LatestPushes: FC<{ latest: LatestPushList | undefined }> = ({ latest }) => (
  <>
    <h2>Latest pushes</h2>
    <Table
      caption="Latest pushes that central knows of"
      columns={['Pushed', 'Tag', 'At']}
      rows={(latest?.pushes ?? []).map(({ pushed_at, repository, tag, origin }) => [
        <Time at={pushed_at} />,
        <a href={imagePath(repository, tag)}>{`${repository}:${tag}`}</a>,
        origin,
      ])}
      empty={latest ? 'Nothing has been pushed yet.' : 'Central does not answer.'}
    />
  </>
);
