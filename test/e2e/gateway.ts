/**
 * `berth gateway`: stock clients push and pull a layer of 600 MiB through it, at an edge that refuses bodies over 100
 * MB and breaks connections at random bytes.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { freePort } from '../../src/local/simulators.ts';
import { berthProgram } from './berth-program.ts';
import type { Client } from './clients/client.ts';
import { containersStorageClient } from './clients/containers-storage.ts';
import { crane } from './clients/crane.ts';
import { withCtr } from './clients/ctr.ts';
import { hasDocker, withDocker } from './clients/docker.ts';
import { skopeo } from './clients/skopeo.ts';
import { withDaemon } from './command.ts';
import { deleteOverHttp } from './delete-over-http.ts';
import { BREAKS, CHUNK, EDGE_LIMIT, whatPassed } from './edge.ts';
import { passwordOf, succeeded } from './expectations.ts';
import { type Front, withFront } from './front.ts';
import { differences } from './images/layout.ts';
import type { Surroundings } from './surroundings.ts';
import type { TemporaryRegistry } from './temporary-registry.ts';

type Opener = (registry: TemporaryRegistry, use: (client: Client) => Promise<void>) => Promise<void>;

const CLIENTS: readonly { readonly name: string; readonly open: Opener }[] = [
  { name: 'skopeo', open: async (registry, use) => use(await skopeo(registry)) },
  { name: 'podman', open: async (registry, use) => use(await containersStorageClient('podman', registry)) },
  { name: 'crane', open: async (registry, use) => use(await crane(registry)) },
  { name: 'ctr', open: withCtr },
];

export async function checkGateway(surroundings: Surroundings): Promise<void> {
  const { registry, checks } = surroundings;
  console.log(`--- berth gateway, at an edge whose breaks have the seed ${BREAKS.seed}`);
  for (const { name, open } of CLIENTS) {
    await checks.check(`gateway: ${name} pushes and pulls a layer of 600 MiB`, () =>
      behindEdge(registry, name, async (through, front) => {
        await open(through, (client) => pushAndPull(client, through, surroundings));
        return whatPassed(front);
      }),
    );
  }
  if (await hasDocker()) await checkDocker(surroundings);
  else console.log('no docker engine runs here: docker was not tried with the gateway');
  await checkKilled(surroundings);
}

async function checkDocker({ registry, checks, images }: Surroundings): Promise<void> {
  await checks.check('gateway: docker pushes and pulls a layer of 600 MiB', () =>
    behindEdge(registry, 'docker', async (through, front) => {
      await withDocker(through, async (docker) => {
        succeeded(await docker.login('bob', passwordOf('bob')));
        succeeded(await docker.push(images.large, 'bob/docker:v1'));
        succeeded(await docker.pull('bob/docker:v1'));
      });
      return whatPassed(front);
    }),
  );
}

async function checkKilled(surroundings: Surroundings): Promise<void> {
  const { registry, checks, images } = surroundings;
  await checks.check('gateway: after kill -9 in the middle of a push, the next one succeeds', async () => {
    await withFront(registry, { limit: EDGE_LIMIT }, async (front) => {
      const port = await freePort();
      const through = await throughGateway(registry, 'killed', port);
      const client = await skopeo(through);
      succeeded(await withGateway(front, port, () => client.login('bob', passwordOf('bob'))));
      const first = withGateway(front, port, async () => {
        const push = client.push('bob', images.large, 'bob/killed:v1');
        while (front.total() < CHUNK) await setTimeout(20);
        return { push };
      });
      // The gateway is killed as soon as its use ends.
      const { result } = await (await first).push;
      if (result.code === 0) throw new Error('the first push came to its end');
      await withGateway(front, port, () => pushAndPull({ ...client, name: 'killed' }, through, surroundings));
    });
  });
}

/** Runs a gateway in front of the edge of a registry. Returns what `use` returns. */
async function behindEdge(
  registry: TemporaryRegistry,
  name: string,
  use: (through: TemporaryRegistry, front: Front) => Promise<string>,
): Promise<string> {
  let note = '';
  await withFront(registry, { limit: EDGE_LIMIT, breaks: BREAKS }, async (front) => {
    const port = await freePort();
    const through = await throughGateway(registry, name, port);
    note = await withGateway(front, port, () => use(through, front));
    await rm(through.directory, { recursive: true, force: true });
  });
  return note;
}

async function throughGateway(registry: TemporaryRegistry, name: string, port: number): Promise<TemporaryRegistry> {
  return { ...registry, host: `localhost:${port}`, port, directory: join(registry.directory, `gateway-${name}`) };
}

async function withGateway<T>(front: Front, port: number, use: () => Promise<T>): Promise<T> {
  const isReady = async (): Promise<boolean> => (await fetch(`http://localhost:${port}/v2/`).catch(() => 0)) !== 0;
  return withDaemon(
    process.execPath,
    [await berthProgram(), 'gateway', front.host, '--port', String(port)],
    { isReady },
    use,
  );
}

/** Pushes as bob, who has nothing else. Otherwise a client that asks for mounts would send nothing. */
async function pushAndPull(
  client: Client,
  registry: TemporaryRegistry,
  { images: { large } }: Surroundings,
): Promise<void> {
  const reference = `bob/${client.name}:v1`;
  const pulled = join(registry.directory, 'pulled');
  succeeded(await client.login('bob', passwordOf('bob')));
  try {
    const { result, layout } = await client.push('bob', large, reference);
    succeeded(result);
    succeeded(await client.pull('bob', large, reference, pulled));
    const found = await differences(layout, pulled);
    if (found.length > 0) throw new Error(found.join('\n'));
  } finally {
    await rm(pulled, { recursive: true, force: true });
    await deleteOverHttp(registry, 'bob', reference);
  }
}
