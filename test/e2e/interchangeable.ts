/**
 * Central and nodes act as one registry: an image that is pushed to one node can be pulled from central and from
 * another node, before and after its bytes are copied, and an image that is deleted at a node is gone everywhere.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { LocalHost } from '../../src/local/simulators.ts';
import type { Client } from './clients/client.ts';
import { crane } from './clients/crane.ts';
import { skopeo } from './clients/skopeo.ts';
import { failedWith, passwordOf, succeeded } from './expectations.ts';
import type { ImageName } from './images/fixtures.ts';
import { differences, rootOf } from './images/layout.ts';
import { ABSENT, Scenario } from './scenario.ts';
import type { Surroundings } from './surroundings.ts';
import { hostNamed, registryAt, type TemporaryRegistry } from './temporary-registry.ts';

type Opener = (registry: TemporaryRegistry) => Promise<Client>;

/** The part of a host's answer about an image that the checks use. */
interface ImageState {
  readonly state: string;
  readonly digest: string;
  readonly blobs: { readonly total: number };
  readonly locations: readonly { readonly store: string; readonly blobs: number }[];
}

const PUSHED_TO = 'node1';
const HOSTS = ['central', PUSHED_TO, 'node2'];
const ELSEWHERE = ['central', 'node2'];
const DELETED_AT = 'node2';

/**
 * Nothing else is pushed to this user's organization, and each image is pushed by one client. So central has none of
 * its bytes before. In the simulators, all bytes may be copied before the first answer about the state; the check
 * prints which state it saw.
 */
const USER = 'bob';
const PUSHED: readonly { readonly open: Opener; readonly images: readonly ImageName[] }[] = [
  { open: skopeo, images: ['unikraft', 'large'] },
  { open: crane, images: ['changed-unikraft', 'multi-platform'] },
];

const PATIENCE_MS = 120_000;
const LOOK_MS = 20;

/** Runs the checks that need several hosts, and all checks of a client at a node. */
export async function checkNodes(surroundings: Surroundings): Promise<void> {
  for (const { open, images } of PUSHED) {
    await checkInterchangeable(open, images, surroundings);
    const atNode = await registryAt(surroundings.registry, PUSHED_TO, 'scenario');
    const client = await open(atNode);
    await new Scenario(
      { ...client, name: `${client.name}-${PUSHED_TO}` },
      atNode,
      surroundings.images,
      surroundings.checks,
    ).run();
  }
}

async function checkInterchangeable(
  open: Opener,
  names: readonly ImageName[],
  { registry, images, checks }: Surroundings,
): Promise<void> {
  const clients = new Map<string, Client>();
  for (const name of HOSTS) {
    const client = await open(await registryAt(registry, name, 'interchangeable'));
    succeeded(await client.login(USER, passwordOf(USER)));
    clients.set(name, client);
  }
  const at = (host: string): Client => {
    const client = clients.get(host);
    if (client === undefined) throw new Error(`there is no host ${host}`);
    return client;
  };
  const { name, version } = at(PUSHED_TO);
  console.log(`--- ${name} ${version}, nodes`);
  const check = (what: string, body: () => Promise<string | void>): Promise<boolean> =>
    checks.check(`${name}, nodes: ${what}`, body);

  for (const image of names.map((each) => images[each])) {
    const repository = `${USER}/${name}/${image.name}`;
    const reference = `${repository}:v1`;
    const root = await rootOf(image.layout);
    const look = (): Promise<ImageState> => stateOf(hostNamed(registry, PUSHED_TO), reference);
    const pulled = join(registry.directory, 'pulled');
    const pull = async (host: string, from: string) => {
      await rm(pulled, { recursive: true, force: true });
      return at(host).pull(USER, image, from, pulled);
    };
    const compare = async (host: string, from = reference): Promise<void> => {
      succeeded(await pull(host, from));
      const found = await differences(image.layout, pulled);
      if (found.length > 0) throw new Error(`${host}: ${found.join('\n')}`);
    };
    const pullElsewhere = async (): Promise<void> => {
      for (const host of ELSEWHERE) await compare(host);
    };

    await check(
      `push ${image.name} to ${PUSHED_TO}; when announced, pull it from ${ELSEWHERE.join(' and ')}`,
      async () => {
        succeeded((await at(PUSHED_TO).push(USER, image, reference)).result);
        const { state, digest } = await until(look, (answer) => answer.state !== 'pending');
        if (digest !== root.digest) throw new Error(`${digest} is not ${root.digest}`);
        await pullElsewhere();
        return state;
      },
    );
    await check(`when settled, all of ${image.name} is at central: pull it again`, async () => {
      const { blobs, locations } = await until(look, ({ state }) => state === 'settled');
      const ofCentral = locations.find(({ store }) => store === 'central');
      if (ofCentral?.blobs !== blobs.total)
        throw new Error(`central has ${ofCentral?.blobs ?? 0} of ${blobs.total} blobs`);
      await pullElsewhere();
    });
    await check(`delete ${image.name} at ${DELETED_AT}: it is gone everywhere`, async () => {
      const { remove } = at(DELETED_AT);
      if (remove === undefined) throw new Error(`${name} has no command to delete`);
      succeeded(await remove(USER, reference));
      for (const host of HOSTS) failedWith(await pull(host, reference), ABSENT);
      // The node that an image was pushed to serves it by digest until it has applied the change log.
      await until(
        () => greatestLag(registry),
        (behind) => behind === 0,
      );
      for (const host of HOSTS) failedWith(await pull(host, `${repository}@${root.digest}`), ABSENT);
    });
  }
}

async function stateOf({ url }: LocalHost, reference: string): Promise<ImageState> {
  const [, organization = '', path = '', tag = ''] = /^([^/]+)\/(.+):(.+)$/.exec(reference) ?? [];
  const image = `${url}/api/organizations/${organization}/repositories/${encodeURIComponent(path)}/images/${tag}`;
  return (await json(image, USER)) as ImageState;
}

/** Returns how many entries of central's change log the slowest node has yet to apply. */
async function greatestLag(registry: TemporaryRegistry): Promise<number> {
  const lags = HOSTS.filter((name) => name !== 'central').map(async (name) => {
    const queue = `${hostNamed(registry, 'central').url}/api/replication/queues/${name}`;
    const { change_log: changeLog } = (await json(queue, 'admin')) as {
      readonly change_log: readonly { readonly store: string; readonly behind: number }[];
    };
    return changeLog.find(({ store }) => store === name)?.behind ?? Infinity;
  });
  return Math.max(...(await Promise.all(lags)));
}

async function json(url: string, user: typeof USER | 'admin'): Promise<unknown> {
  const answer = await fetch(url, { headers: { Authorization: `Basic ${btoa(`${user}:${passwordOf(user)}`)}` } });
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

/** @throws when it takes too long */
async function until<Answer>(look: () => Promise<Answer>, done: (answer: Answer) => boolean): Promise<Answer> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await look();
    if (done(answer)) return answer;
    if (Date.now() > deadline) throw new Error(`after ${PATIENCE_MS / 1000} s it is still ${JSON.stringify(answer)}`);
    await setTimeout(LOOK_MS);
  }
}
