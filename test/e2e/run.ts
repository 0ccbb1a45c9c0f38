/** `npm run e2e [-- <client>…]`: runs real clients against the registry of `npm start`. */
import { CANDIDATES, runCandidate } from './candidates.ts';
import { Checks } from './checks.ts';
import type { Image } from './clients/client.ts';
import { buildImages } from './images/build.ts';
import { PackagesUnavailable } from './images/debian.ts';
import { IMAGES, type ImageName, LAYERS } from './images/fixtures.ts';
import { AT_LOOPBACK } from './mirrors.ts';
import { type TemporaryRegistry, withTemporaryRegistry } from './temporary-registry.ts';

const checks = new Checks();
const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !CANDIDATES.some((candidate) => candidate.name === name));
if (unknown.length > 0) {
  console.error(`Unknown client ${unknown.join(', ')}. Choose from ${CANDIDATES.map(({ name }) => name).join(', ')}.`);
  process.exit(2);
}

async function checkAll(registry: TemporaryRegistry): Promise<void> {
  const images = asImages(await buildImages());
  for (const candidate of CANDIDATES) {
    if (asked.length === 0 || asked.includes(candidate.name))
      await runCandidate(candidate, { registry, images, checks });
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
  await withTemporaryRegistry(checkAll, AT_LOOPBACK);
} catch (error) {
  if (!(error instanceof PackagesUnavailable)) throw error;
  checks.missing('all checks', `the images are made of Debian packages: ${error.message}`);
}
process.exitCode = checks.finish() ? 0 : 1;
