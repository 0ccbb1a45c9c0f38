/** `npm run e2e`: the clients that people have, against the registry that `npm start` runs. */
import { Checks } from './checks.ts';
import { availableClients } from './clients/available.ts';
import type { Image } from './clients/client.ts';
import { buildImages } from './images/build.ts';
import { PackagesUnavailable } from './images/debian.ts';
import { IMAGES, type ImageName, LAYERS } from './images/fixtures.ts';
import { checkKernelReuse } from './kernel-reuse.ts';
import { Scenario } from './scenario.ts';
import { type TemporaryRegistry, withTemporaryRegistry } from './temporary-registry.ts';

const checks = new Checks();

async function checkAll(registry: TemporaryRegistry): Promise<void> {
  const images = asImages(await buildImages());
  for (const client of await availableClients(registry, checks)) {
    await new Scenario(client, registry, images, checks).run();
    if (client.name === 'crane') await checkKernelReuse(client, registry, images, checks);
  }
}

function asImages(layouts: Readonly<Record<ImageName, string>>): Readonly<Record<ImageName, Image>> {
  const images = Object.entries(layouts).map(([name, layout]) => {
    const { kind, manifests } = IMAGES[name as ImageName];
    const gzip = manifests.every(({ layers }) => layers.every((layer) => LAYERS[layer]?.gzip));
    return [name, { name, layout, kind, gzip }];
  });
  return Object.fromEntries(images) as Record<ImageName, Image>;
}

try {
  await withTemporaryRegistry(checkAll);
} catch (error) {
  if (!(error instanceof PackagesUnavailable)) throw error;
  checks.missing('all checks', `the images are made of Debian packages. ${error.message}`);
}
process.exitCode = checks.finish() ? 0 : 1;
