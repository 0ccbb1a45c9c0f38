import type { Surroundings } from './surroundings.ts';
import type { Client, Image } from './clients/client.ts';
import { same, succeeded } from './expectations.ts';
import { blobsOf } from './images/layout.ts';
import { requestsDuring, uploadedBlobs } from './request-log.ts';

const REPOSITORY = 'alice/kernel-reuse';

/** An application that is pushed again with another root file system: its kernel is there, and is not sent. */
export async function checkKernelReuse(client: Client, { registry, images, checks }: Surroundings): Promise<void> {
  const { unikraft, 'changed-unikraft': changed } = images;
  await checks.check(`${client.name}: a kernel that is there is not uploaded again`, async () => {
    const first = await requestsDuring(registry, async () =>
      succeeded((await client.push('alice', unikraft, `${REPOSITORY}:v1`)).result),
    );
    same(uploadedBlobs(first, REPOSITORY), await allBlobs(unikraft));
    const second = await requestsDuring(registry, async () =>
      succeeded((await client.push('alice', changed, `${REPOSITORY}:v1`)).result),
    );
    const known = await allBlobs(unikraft);
    const expected = (await allBlobs(changed)).filter((digest) => !known.includes(digest));
    same(uploadedBlobs(second, REPOSITORY), expected);
    return `${expected.length} of ${known.length} blobs sent`;
  });
}

async function allBlobs({ layout }: Image): Promise<string[]> {
  return [...(await blobsOf(layout, 'config')), ...(await blobsOf(layout, 'layers'))];
}
