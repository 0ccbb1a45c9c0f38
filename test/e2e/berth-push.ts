/**
 * `berth push` of a layer of 600 MiB, at an edge that refuses bodies over 100 MB and breaks connections at random
 * bytes, and after kill -9 in the middle.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type Berth, berth } from './clients/berth.ts';
import { deleteOverHttp } from './delete-over-http.ts';
import { BREAKS, CHUNK, EDGE_LIMIT, whatPassed } from './edge.ts';
import { passwordOf, succeeded } from './expectations.ts';
import { type Front, withFront } from './front.ts';
import { blobSizes, differences } from './images/layout.ts';
import type { Surroundings } from './surroundings.ts';

export async function checkPush(_client: Berth, surroundings: Surroundings): Promise<void> {
  const { checks, images } = surroundings;
  await checks.check(`berth: a layer of 600 MiB passes an edge whose breaks have the seed ${BREAKS.seed}`, () =>
    atEdge(surroundings, 'breaks', BREAKS, async (client, front, reference) => {
      succeeded((await client.push('bob', images.large, reference)).result);
      return whatPassed(front);
    }),
  );
  await checks.check('berth: after kill -9 in the middle, the next push sends the rest', () =>
    atEdge(surroundings, 'killed', undefined, async (client, front, reference) => {
      const { layout, name } = images.large;
      await killInTheMiddle(client.pushing('bob', `oci:${layout}:${name}`, reference), () => front.total() > 3 * CHUNK);
      const before = front.total();
      succeeded((await client.push('bob', images.large, reference)).result);
      const size = (await blobSizes(layout)).reduce((sum, one) => sum + one, 0);
      // Bytes that were under way count as sent, and go again. Manifests are small.
      const most = size + CHUNK + 1024 ** 2;
      if (front.total() > most) throw new Error(`${front.total()} bytes were sent, of which ${size} were needed`);
      return `${before} bytes, then ${front.total() - before}`;
    }),
  );
}

/** Lets a client push at an edge, and then pulls and compares. */
async function atEdge(
  { registry, images: { large } }: Surroundings,
  name: string,
  breaks: typeof BREAKS | undefined,
  push: (client: Berth, front: Front, reference: string) => Promise<string>,
): Promise<string> {
  // Each check has its own repository, because another still has the layer after its image is deleted.
  const reference = `bob/berth-${name}:v1`;
  let note = '';
  const options = { limit: EDGE_LIMIT, ...(breaks === undefined ? {} : { breaks }) };
  await withFront(registry, options, async (front) => {
    const directory = join(registry.directory, `berth-${name}`);
    const client = await berth({ ...registry, host: front.host, directory });
    const pulled = join(directory, 'pulled');
    try {
      succeeded(await client.login('bob', passwordOf('bob')));
      note = await push(client, front, reference);
      succeeded(await client.pull('bob', large, reference, pulled));
      const found = await differences(large.layout, pulled);
      if (found.length > 0) throw new Error(found.join('\n'));
    } finally {
      await rm(directory, { recursive: true, force: true });
      await deleteOverHttp(registry, 'bob', reference);
    }
  });
  return note;
}

/** Runs a command of the program until a condition holds, and kills it. @throws if it ends before */
async function killInTheMiddle([args, env]: ReturnType<Berth['pushing']>, condition: () => boolean): Promise<void> {
  const child = spawn(process.execPath, args, { env: { ...process.env, ...env }, stdio: 'ignore' });
  const exited = once(child, 'exit');
  try {
    while (!condition()) {
      if (child.exitCode !== null) throw new Error(`the push ended with ${child.exitCode}`);
      await setTimeout(10);
    }
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
}
