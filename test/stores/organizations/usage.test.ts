/**
 * Triggers keep the usage of organizations. After each step of any kind, the columns must equal the result of a scan.
 */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { type Digest, digestOf } from '../../../src/oci/digest.ts';
import { inUnits } from '../../../src/stores/organizations/usage-rows.ts';
import { addUsers, type UserName } from '../../support/client.ts';
import {
  bytesOf,
  contentDigest,
  descriptorOf,
  type Image,
  imageOf,
  indexOf,
  subjectOf,
} from '../../support/fixture.ts';
import { Random } from '../../support/random.ts';
import { type HostName, ThreeHosts } from '../../support/three-hosts.ts';
import { keptUsage, scannedUsage } from '../../support/usage.ts';
import { sampled } from '../../support/sample.ts';

const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];
const STEPS = 40;

const DATABASES: Readonly<Record<HostName, D1Database>> = {
  central: env.DB_CENTRAL,
  node1: env.DB_NODE1!,
  node2: env.DB_NODE2!,
};
const HOSTS = Object.keys(DATABASES) as HostName[];
const REPOSITORIES: readonly (readonly [name: string, as: UserName])[] = [
  ['alice/app', 'alice'],
  ['alice/other', 'alice'],
  ['bob/app', 'bob'],
];
const CONTENTS = Array.from({ length: 6 }, (_, i) => bytesOf(i + 1, 10 * 3 ** i));
const DIGESTS = await Promise.all(CONTENTS.map((content) => digestOf('sha256', content)));

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

async function requireKept(step: string): Promise<void> {
  for (const [host, database] of Object.entries(DATABASES)) {
    const [kept, scanned] = [await keptUsage(database), await scannedUsage(database)];
    expect({ step, host, ...kept }).toEqual({ step, host, ...scanned });
  }
}

/** A walk of random steps. Later steps use the images and upload sessions of earlier ones. */
class Walk {
  readonly #random: Random;
  readonly #images: Image[] = [];
  readonly #sessions: { readonly host: HostName; readonly as: UserName; location: string }[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  /** Does a random step, and returns what it did. */
  async step(): Promise<string> {
    const random = this.#random;
    const host = random.pick(HOSTS) ?? 'central';
    const [repository, as] = random.pick(REPOSITORIES) ?? ['alice/app', 'alice'];
    const content = random.between(0, CONTENTS.length - 1);
    const [bytes, digest] = [CONTENTS[content]!, DIGESTS[content]!];
    const image = random.pick(this.#images);
    const call = async (method: string, path: string, body: Uint8Array<ArrayBuffer> | null = null) =>
      `${method} ${path}: ${(await hosts.call(host, method, `/v2/${repository}/${path}`, { as, body })).status}`;
    const kind = random.weighted({
      blob: 4,
      mount: 2,
      chunk: 3,
      close: 2,
      cancel: 1,
      image: 5,
      index: 1,
      again: 2,
      head: 1,
      pull: 2,
      'delete manifest': 3,
      'delete blob': 2,
      'delete repository': 1,
      collect: 1,
      announce: 3,
      drain: 2,
      evict: 1,
    });
    switch (kind) {
      case 'blob':
        return `${host} ${(await hosts.putBlob(host, repository, bytes, as)).status} ${repository} ${digest}`;
      case 'mount':
        return `${host} ${await call('POST', `blobs/uploads/?mount=${digest}&from=${random.pick(REPOSITORIES)?.[0]}`)}`;
      case 'chunk': {
        const { headers } = await hosts.call(host, 'POST', `/v2/${repository}/blobs/uploads/`, { as });
        const patched = await hosts.call(host, 'PATCH', headers.get('Location') ?? '', { as, body: bytes });
        this.#sessions.push({ host, as, location: patched.headers.get('Location') ?? '' });
        return `${host} PATCH ${patched.status}`;
      }
      case 'close':
      case 'cancel': {
        const session = this.#sessions.pop();
        if (session === undefined) return 'nothing';
        const options = { as: session.as, body: kind === 'close' && random.chance(0.3) ? bytes : null };
        const [method, query] = kind === 'close' ? ['PUT', `?digest=${digest}`] : ['DELETE', ''];
        return `${session.host} ${kind} ${(await hosts.call(session.host, method, `${session.location}${query}`, options)).status}`;
      }
      case 'image': {
        const layers = DIGESTS.filter(() => random.chance(0.4));
        const made = await imageOf(digest, layers, { annotations: { n: String(random.between(0, 3)) } });
        return this.#put(host, repository, as, made);
      }
      case 'index':
        // Old build caches list blobs where an index has manifests.
        return this.#put(host, repository, as, await indexOf([digest, ...(image === undefined ? [] : [image.digest])]));
      case 'again':
        return image === undefined ? 'nothing' : this.#put(host, repository, as, image);
      case 'head':
        return `${host} ${await call('HEAD', `blobs/${digest}`)}`;
      case 'pull':
        return image === undefined ? 'nothing' : `${host} ${await call('GET', `manifests/${image.digest}`)}`;
      case 'delete manifest':
        return image === undefined ? 'nothing' : `${host} ${await call('DELETE', `manifests/${image.digest}`)}`;
      case 'delete blob':
        return `${host} ${await call('DELETE', `blobs/${digest}`)}`;
      case 'delete repository': {
        const [organization, name] = repository.split('/');
        const path = `/api/organizations/${organization}/repositories/${name}`;
        return `${host} DELETE ${repository}: ${(await hosts.call(host, 'DELETE', path, { as })).status}`;
      }
      case 'collect':
        await collect(DATABASES[host], random.chance(0.5));
        return `${host} collect`;
      case 'announce':
        await hosts.announce();
        return 'announce';
      case 'drain':
        await hosts.drain();
        return 'drain';
      case 'evict':
        if (host === 'central') return 'nothing';
        await DATABASES[host].prepare('DELETE FROM locations WHERE digest = ?1').bind(digest).run();
        return `${host} evict ${digest}`;
    }
  }

  async #put(host: HostName, repository: string, as: UserName, image: Image): Promise<string> {
    this.#images.push(image);
    const { status } = await hosts.putManifest(
      host,
      repository,
      this.#random.chance(0.5) ? 'latest' : image.digest,
      image,
      as,
    );
    return `${host} PUT manifest ${repository}: ${status}`;
  }
}

/** Deletes the rows that collection deletes, in one of two orders. */
async function collect(database: D1Database, linksFirst: boolean): Promise<void> {
  const links = database.prepare(`
    DELETE FROM links WHERE NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.repository = links.repository AND r.digest = links.digest)`);
  const manifests = database.prepare('DELETE FROM manifests WHERE created_version <= deleted_version');
  const uncounted = database.prepare(`
    INSERT INTO usage_added (organization, upload_rows)
    SELECT substr(repository, 1, instr(repository, '/') - 1), - sum(rows) FROM uploads WHERE state <> 'open' GROUP BY 1`);
  const sessions = database.prepare("DELETE FROM uploads WHERE state <> 'open'");
  const contents = database.prepare(`
    DELETE FROM manifest_contents WHERE NOT EXISTS (SELECT 1 FROM manifests m
      WHERE m.repository = manifest_contents.repository AND m.digest = manifest_contents.digest)`);
  const rest = [manifests, contents, uncounted, sessions];
  await database.batch(linksFirst ? [links, ...rest] : rest);
}

describe('the columns equal a scan', () => {
  test.each(sampled(SEEDS))('after each random step at three hosts, seed %i', async (seed) => {
    const walk = new Walk(new Random(20_261_124, seed));
    const done: string[] = [];
    for (let i = 0; i < STEPS; i++) {
      // A node's push is announced at once, or has to wait.
      if (i % 10 === 0) hosts.giveBack();
      if (i % 10 === 3) hosts.takeAway('queues');
      done.push(await walk.step());
      await requireKept(done.join('\n'));
    }
    expect(done.filter((step) => / 2\d\d/.test(step) || step.endsWith(': 201')).length).toBeGreaterThan(5);
  });
});

const used = async (organization: string, database = env.DB_CENTRAL): Promise<number> =>
  (await database
    .prepare('SELECT bytes + uploading AS used FROM usage WHERE organization = ?1')
    .bind(organization)
    .first<number>('used')) ?? 0;

describe('usage', () => {
  const put = (repository: string, content: Uint8Array<ArrayBuffer>) => hosts.putBlob('central', repository, content);

  test('counts a blob in two repositories of an organization once, and for each of two organizations', async () => {
    await hosts.push('central', 'alice/app', 1, 'latest');
    await hosts.push('central', 'alice/other', 1, 'latest');
    await hosts.push('central', 'bob/app', 1, 'latest', 'bob');
    expect([await used('alice'), await used('bob')]).toEqual([100, 100]);
  });

  test('counts the real size: a descriptor with another size is refused', async () => {
    const content = bytesOf(1, 1000);
    const digest = await contentDigest(content);
    await put('alice/app', content);
    const lying = await imageOf(digest, [], { config: { ...descriptorOf(digest, 'application/x'), size: 1 } });
    expect((await hosts.putManifest('central', 'alice/app', 'latest', lying)).code).toBe('MANIFEST_INVALID');
    await hosts.putManifest('central', 'alice/app', 'latest', await imageOf(digest, []));
    expect(await used('alice')).toBe(1000);
  });

  test('does not count a deleted manifest, before and after its collection, until it is pushed again', async () => {
    const image = await hosts.push('central', 'alice/app', 1, 'latest');
    await hosts.call('central', 'DELETE', `/v2/alice/app/manifests/${image.digest}`);
    expect(await used('alice')).toBe(0);
    await collect(env.DB_CENTRAL, false);
    expect(await used('alice')).toBe(0);
    expect((await hosts.putManifest('central', 'alice/app', 'latest', image)).status).toBe(201);
    expect(await used('alice')).toBe(100);
  });

  test('counts an upload while it is open, and a blob until it is unlinked', async () => {
    const content = bytesOf(1, 500);
    const digest: Digest = await digestOf('sha256', content);
    const { headers } = await hosts.call('central', 'POST', '/v2/alice/app/blobs/uploads/');
    const patched = await hosts.call('central', 'PATCH', headers.get('Location') ?? '', { body: content });
    expect(await used('alice')).toBe(500);
    await hosts.call('central', 'PUT', `${patched.headers.get('Location')}?digest=${digest}`);
    expect(await used('alice')).toBe(500);
    await hosts.call('central', 'DELETE', `/v2/alice/app/blobs/${digest}`);
    expect(await used('alice')).toBe(0);
  });

  test('counts neither a subject nor a manifest as a blob', async () => {
    const image = await hosts.push('central', 'alice/app', 1, 'latest');
    const subject = subjectOf(image);
    const config = bytesOf(9, 5);
    await put('alice/app', config);
    await hosts.putManifest(
      'central',
      'alice/app',
      'signed',
      await imageOf(await contentDigest(config), [], { subject }),
    );
    await hosts.putManifest('central', 'alice/app', 'index', await indexOf([image.digest]));
    expect(await used('alice')).toBe(105);
  });

  test('of a node excludes the content that it has announced, because central counts that', async () => {
    hosts.takeAway('queues');
    await hosts.push('node1', 'alice/app', 1, 'latest');
    expect([await used('alice', env.DB_NODE1), await used('alice')]).toEqual([100, 0]);
    await hosts.drain();
    expect([await used('alice', env.DB_NODE1), await used('alice')]).toEqual([0, 100]);
    await hosts.call('node2', 'GET', '/v2/alice/app/manifests/latest');
    await hosts.drain();
    expect(await used('alice', env.DB_NODE2)).toBe(0);
  });

  test('keeps the known size of a blob when its link is renewed and a manifest then references it', async () => {
    const run = (query: string) => env.DB_CENTRAL.prepare(query).run();
    const row = () => env.DB_CENTRAL.prepare('SELECT size, uses, known FROM usage_blobs').first();
    const counts = () => env.DB_CENTRAL.prepare('SELECT counts FROM links').first('counts');
    // Its bytes are in another store, so that no row here has its size.
    await run("INSERT INTO links (repository, digest, created_at) VALUES ('alice/app', 'sha256:1', 0)");
    await run('UPDATE usage_blobs SET size = 100, known = 1');
    expect(await row()).toEqual({ size: 100, uses: 1, known: 1 });
    const descriptors = ['config', 'layer'].map((kind) => ({ kind, digest: 'sha256:1', size: 100 }));
    await run(
      `INSERT INTO manifests (repository, digest, media_type, artifact_type, size, created_version, deleted_version,
        last_pull, descriptors)
       VALUES ('alice/app', 'sha256:2', 'm', '', 1, 1, 0, 0, '${JSON.stringify(descriptors)}')`,
    );
    expect(await row()).toEqual({ size: 100, uses: 1, known: 1 });
    await run('UPDATE manifests SET deleted_version = 2');
    expect([await row(), await counts()]).toEqual([null, 0]);
    await run('UPDATE links SET counts = 2');
    await run('UPDATE usage_blobs SET size = 100, known = 1');
    await run('UPDATE manifests SET created_version = 3');
    expect([await row(), await counts()]).toEqual([{ size: 100, uses: 1, known: 1 }, 1]);
  });

  test('is zero after everything was deleted', async () => {
    for (const [i, host] of HOSTS.entries()) await hosts.push(host, 'alice/app', 10 * i, `tag${i}`);
    await hosts.drain();
    await hosts.call('central', 'DELETE', '/api/organizations/alice/repositories/app');
    await hosts.drain();
    for (const database of Object.values(DATABASES)) {
      expect(await database.prepare('SELECT count(*) AS count FROM usage_blobs').first('count')).toBe(0);
      expect(await used('alice', database)).toBe(0);
    }
  });
});

test.each([
  [0, '0 bytes'],
  [1, '1 byte'],
  [999, '999 bytes'],
  [1000, '1 kB'],
  [9_999_999_999, '9.99 GB'],
  [1_200_000_000, '1.2 GB'],
  [2 ** 53 - 1, '9 PB'],
])('%i bytes are shown to people as %s', (bytes, text) => {
  expect(inUnits(bytes)).toBe(text);
});
