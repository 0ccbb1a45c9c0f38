/** A changed application is pushed with another root file system: its kernel is already there, and is not sent. */
import type { Client, Image } from './clients/client.ts';
import { passwordOf, same, succeeded } from './expectations.ts';
import { withFront } from './front.ts';
import { blobsOf, contentOf } from './images/layout.ts';
import { requestsDuring, uploadedBlobs } from './request-log.ts';
import type { Surroundings } from './surroundings.ts';
import { registryAt, type TemporaryRegistry } from './temporary-registry.ts';

/** Runs a client at a registry. */
type With = (registry: TemporaryRegistry, use: (client: Client) => Promise<void>) => Promise<void>;

const FIRST_AT = 'central';
const AGAIN_AT = ['central', 'node1'];
const USER = 'alice';

/**
 * Checks the second push of an application. The first push goes to central; the second to central, or to a node that
 * has none of it.
 */
export async function checkKernelReuse(withClient: With, { registry, images, checks }: Surroundings): Promise<void> {
  const { unikraft, 'changed-unikraft': changed } = images;
  for (const host of AGAIN_AT) {
    await withClient(await registryAt(registry, FIRST_AT, 'first-push'), async (client) => {
      const repository = `${USER}/kernel-reuse/${client.name}-${host}`;
      const push = async (at: Client, image: Image): Promise<void> => {
        succeeded(await at.login(USER, passwordOf(USER)));
        succeeded((await at.push(USER, image, `${repository}:v1`)).result);
      };
      await checks.check(`${client.name}: a kernel that is at ${FIRST_AT} is not sent to ${host} again`, async () => {
        const first = await requestsDuring(registry, () => push(client, unikraft));
        same(uploadedBlobs(first, repository), await allBlobs(unikraft));
        let sent = 0;
        const second = await requestsDuring(registry, async () => {
          const target = await registryAt(registry, host, 'second-push');
          await withFront(target, { limit: Infinity }, async (front) => {
            await withClient({ ...target, host: front.host }, (again) => push(again, changed));
            sent = front.total();
          });
        });
        const known = await allBlobs(unikraft);
        const news = (await allBlobs(changed)).filter((digest) => !known.includes(digest));
        same(uploadedBlobs(second, repository), news);
        const expected = await bytesOfAllBut(known, changed);
        if (sent !== expected) throw new Error(`${sent} bytes were sent, not ${expected}`);
        return `${sent} of ${await bytesOfAllBut([], changed)} bytes sent`;
      });
    });
  }
}

async function allBlobs({ layout }: Image): Promise<string[]> {
  return [...(await blobsOf(layout, 'config')), ...(await blobsOf(layout, 'layers'))];
}

/** Returns the bytes of blobs, manifests and index, except the known blobs. */
async function bytesOfAllBut(known: readonly string[], { layout }: Image): Promise<number> {
  const content = (await contentOf(layout)).filter(({ digest }) => !known.includes(digest));
  return content.reduce((sum, { size }) => sum + size, 0);
}
