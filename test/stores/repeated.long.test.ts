/**
 * Batches that D1 fails to answer and that run again (`Repeatable`). Each operation runs once undisturbed. Then it runs
 * with D1 failing each batch twice: once before it is committed, and once after. It must answer the same, and leave the
 * same rows and objects.
 */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { OrganizationName, RepositoryName, Tag } from '../../src/oci/reference.ts';
import type { Registry, UploadProgress } from '../../src/registry/registry.ts';
import { ControlData } from '../../src/stores/organizations/control-data.ts';
import { BINDINGS, clearStores } from '../support/bindings.ts';
import { type Fault, faultyD1 } from '../support/faults.ts';
import {
  bodyOf,
  bytesOf,
  contentDigest,
  type Fixture,
  granted,
  type Image,
  imageOf,
  openFixture,
  pushBlob,
  pushSmallImage,
  REPOSITORY,
  session,
  snapshot,
  SUBJECT,
} from '../support/fixture.ts';
import { type HostName, openHosts, type Hosts } from '../support/hosts.ts';

const OTHER = 'alice/other' as RepositoryName;
const NAME = 'carol' as OrganizationName;
const TAG = 'latest' as Tag;
const BLOB = bytesOf(1, 100);
const [HEAD_PART, TAIL] = [BLOB.slice(0, 60), BLOB.slice(60)];

/** Stores whose batches fail as `faults` says, each fault once for each batch, before the batch is answered. */
class Stores {
  hosts!: Hosts;
  repeated = 0;
  faults: readonly Fault[] = [];
  /** The number of batches of each store that fail. */
  batches = Infinity;
  readonly #calls = new Map<HostName, number>();

  async open(): Promise<void> {
    await clearStores();
    const reach = (database: D1Database, name: HostName): D1Database =>
      faultyD1(database, name, ({ kind }) => {
        if (kind !== 'batch' || this.faults.length === 0) return 'ok';
        const calls = this.#calls.get(name) ?? 0;
        this.#calls.set(name, calls + 1);
        const attempts = this.faults.length + 1;
        const fault = calls < this.batches * attempts ? this.faults[calls % attempts] : undefined;
        if (fault !== undefined) this.repeated += 1;
        return fault ?? 'ok';
      });
    this.hosts = await openHosts({ reach });
  }

  at(host: HostName): Registry {
    return this.hosts[host].registry;
  }

  get control(): ControlData {
    return new ControlData(this.hosts.central.store.database);
  }

  get fixture(): Fixture {
    return { registry: this.at('central') } as Fixture;
  }

  get node(): Fixture {
    return { registry: this.at('node1') } as Fixture;
  }

  /** Returns all rows and objects, with the same word for each random id, position and counter. */
  async contents(): Promise<string[]> {
    const lines: string[] = [];
    for (const [host, bindings] of Object.entries(BINDINGS)) {
      const [tables, keys] = JSON.parse(await snapshot(...bindings)) as [[string, unknown[]][], string[]];
      const rows = tables.flatMap(([table, found]) => found.map((row) => `${table} ${JSON.stringify(row)}`));
      lines.push(...[...rows, ...keys].map((line) => `${host} ${line}`));
    }
    const ids = /[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}\+?/g;
    return lines.map((line) => line.replaceAll(ids, 'id').replace(/"(position|changed)":\d+/, '"$1":0')).toSorted();
  }
}

interface Operation<Prepared> {
  readonly prepare: (stores: Stores) => Promise<Prepared>;
  readonly act: (stores: Stores, prepared: Prepared) => Promise<unknown>;
  /** The number of its batches that fail at each store; all by default. */
  readonly batches?: number;
}

const operation = <Prepared>(
  prepare: Operation<Prepared>['prepare'],
  act: Operation<Prepared>['act'],
  batches = Infinity,
): Operation<unknown> => ({ prepare, act, batches }) as Operation<unknown>;

/** Maintenance repeats the sweep of a removal. */
const BEFORE_SWEEP = 1;
const nothing = async (): Promise<void> => undefined;
const digestOf = (bytes = BLOB): Promise<Digest> => contentDigest(bytes);
const opened = ({ fixture }: Stores): Promise<UploadProgress> =>
  fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
const begun = async (stores: Stores, part = HEAD_PART): Promise<UploadProgress> =>
  stores.fixture.registry.appendChunk(session(await opened(stores)), undefined, bodyOf(part));
const finish = async ({ fixture }: Stores, progress: UploadProgress, part?: Uint8Array<ArrayBuffer>): Promise<void> =>
  fixture.registry.finishUpload(session(progress), await digestOf(), undefined, part && bodyOf(part));
const image = ({ fixture }: Stores): Promise<Image> => pushSmallImage(fixture, 1, [TAG]);
const unpushed = async ({ fixture }: Stores): Promise<Image> =>
  imageOf(await pushBlob(fixture, bytesOf(3, 20)), [await pushBlob(fixture, bytesOf(4, 20))]);
const withQuota = (bytes: number) => (): Promise<unknown> =>
  env.DB_CENTRAL.prepare("INSERT INTO organizations (name, created_at, quota_bytes) VALUES ('alice', 0, ?1)")
    .bind(bytes)
    .run();
const withOrganization = ({ control }: Stores): Promise<boolean> => control.addOrganization(NAME, 1, 0);
const CREDENTIAL = {
  id: 'id-of-ci',
  kind: 'organization',
  organization: NAME,
  name: 'ci',
  rights: '[]',
  repositories: '[]',
  secret_hash: 'hash',
  created_at: 2,
  expires_at: null,
  registries: null,
} as const;
const put = (
  registry: Registry,
  { digest, manifest, bytes }: Image,
  condition?: Parameters<Registry['putManifest']>[6],
) => registry.putManifest(REPOSITORY, digest, manifest, bytes.byteLength, [TAG], undefined, condition);

/** A second run does nothing, and answers the same. */
const SAME: Readonly<Record<string, Operation<unknown>>> = {
  'a blob with its digest': operation(nothing, ({ fixture }) => pushBlob(fixture, BLOB)),
  'a blob that just fits the quota': operation(withQuota(100), ({ fixture }) => pushBlob(fixture, BLOB)),
  'a blob that is there': operation(
    ({ fixture }) => pushBlob(fixture, BLOB),
    ({ fixture }) => pushBlob(fixture, BLOB, OTHER),
  ),
  'a first chunk': operation(
    opened,
    async ({ fixture }, progress) =>
      (await fixture.registry.appendChunk(session(progress), undefined, bodyOf(BLOB))).size,
  ),
  'a second chunk': operation(
    begun,
    async ({ fixture }, progress) => (await fixture.registry.appendChunk(session(progress), 60, bodyOf(TAIL))).size,
  ),
  'closing a session of one chunk': operation((stores) => begun(stores, BLOB), finish),
  'closing a session of one chunk whose blob is there': operation(async (stores) => {
    await pushBlob(stores.fixture, BLOB);
    return begun(stores, BLOB);
  }, finish),
  'closing a session with the rest of the blob': operation(begun, (stores, progress) => finish(stores, progress, TAIL)),
  'closing a session with the whole blob': operation(opened, (stores, progress) => finish(stores, progress, BLOB)),
  'closing a closed session again': operation(
    async (stores) => {
      const progress = await begun(stores, BLOB);
      await finish(stores, progress);
      return progress;
    },
    (stores, progress) => finish(stores, progress),
  ),
  'cancelling a session': operation(begun, ({ fixture }, progress) => fixture.registry.cancelUpload(session(progress))),
  'a HEAD by a pusher': operation(
    async (stores) => {
      const digest = await pushBlob(stores.fixture, BLOB);
      stores.hosts.now += 24 * 3_600_000;
      return digest;
    },
    ({ fixture }, digest) => fixture.registry.resolveBlob(granted(), digest, true),
  ),
  'a mount from a repository': operation(
    ({ fixture }) => pushBlob(fixture, BLOB),
    ({ fixture }, digest) => fixture.registry.mountBlob(OTHER, digest, granted()),
  ),
  'a mount from anywhere': operation(
    ({ fixture }) => pushBlob(fixture, BLOB),
    ({ fixture }, digest) =>
      fixture.registry.mountBlob(OTHER, digest, { ranges: [{ from: 'alice/', to: 'alice0' }], withPublic: true }),
  ),
  'a manifest': operation(unpushed, ({ fixture }, pushed) => put(fixture.registry, pushed)),
  'a manifest that moves a tag': operation(
    async (stores) => {
      await image(stores);
      return unpushed(stores);
    },
    ({ fixture }, pushed) => put(fixture.registry, pushed),
  ),
  'a manifest that just fits the quota': operation(
    async (stores) => {
      const pushed = await unpushed(stores);
      await withQuota(40 + pushed.bytes.byteLength)();
      return pushed;
    },
    ({ fixture }, pushed) => put(fixture.registry, pushed),
  ),
  'a manifest if there is none': operation(unpushed, ({ fixture }, pushed) =>
    put(fixture.registry, pushed, {
      reference: { kind: 'tag', tag: TAG },
      precondition: { ifMatch: undefined, ifNoneMatch: ['*'] },
    }),
  ),
  'a deletion of a tag': operation(image, ({ fixture }) => fixture.registry.deleteTag(REPOSITORY, TAG)),
  'a deletion of a manifest': operation(image, ({ fixture }, { digest }) =>
    fixture.registry.deleteManifest(REPOSITORY, digest),
  ),
  'a deletion of a repository': operation(
    image,
    ({ fixture }) => fixture.registry.deleteRepository(REPOSITORY),
    BEFORE_SWEEP,
  ),
  'a repository made public': operation(image, ({ control }) => control.setPublic(REPOSITORY, true, 3)),
  'at a node, a HEAD of a blob of central': operation(
    ({ fixture }) => pushBlob(fixture, BLOB),
    ({ node }, digest) => node.registry.resolveBlob(granted(), digest, true),
  ),
  'at a node, a mount of a blob of central': operation(
    ({ fixture }) => pushBlob(fixture, BLOB),
    ({ node }, digest) => node.registry.mountBlob(OTHER, digest, granted()),
  ),
  'at a node, a manifest of blobs of central': operation(unpushed, ({ node }, pushed) => put(node.registry, pushed)),
  'at a node, a pull of an image of central': operation(
    image,
    async ({ node }) => (await node.registry.getManifest(granted(), { kind: 'tag', tag: TAG })).digest,
  ),
  'at a node, a deletion of a repository': operation(
    image,
    ({ node }) => node.registry.deleteRepository(REPOSITORY),
    BEFORE_SWEEP,
  ),
};

/** A second run cannot tell whether the first was committed, so its caller is told that D1 did not answer. */
const UNSURE: Readonly<Record<string, Operation<unknown>>> = {
  'a deletion of a blob': operation(
    ({ fixture }) => pushBlob(fixture, BLOB),
    ({ fixture }, digest) => fixture.registry.deleteBlob(REPOSITORY, digest),
  ),
  'a new organization': operation(nothing, withOrganization),
  'a new credential': operation(withOrganization, ({ control }) => control.addCredential(CREDENTIAL)),
  'a removed credential': operation(
    async (stores) => {
      await withOrganization(stores);
      await stores.control.addCredential(CREDENTIAL);
    },
    ({ control }) => control.removeCredential(CREDENTIAL.id, 3),
  ),
  'a new repository': operation(withOrganization, ({ control }) =>
    control.addRepository('carol/app' as RepositoryName, 3),
  ),
};

/** A second run would delete content that was pushed since the first. */
const ONCE: Readonly<Record<string, Operation<unknown>>> = {
  'at a node, a deletion of a tag': operation(image, ({ node }) => node.registry.deleteTag(REPOSITORY, TAG)),
  'at a node, a deletion of a manifest': operation(image, ({ node }, { digest }) =>
    node.registry.deleteManifest(REPOSITORY, digest),
  ),
};

/** Carries out an operation in empty stores, and returns its answer and the contents of the stores. */
async function carryOut({ prepare, act, batches = Infinity }: Operation<unknown>, ...faults: readonly Fault[]) {
  const stores = new Stores();
  await stores.open();
  const prepared = await prepare(stores);
  await stores.hosts.settled();
  Object.assign(stores, { faults, batches });
  const answer = await act(stores, prepared).then(
    (value) => JSON.stringify(value),
    ({ kind }: { kind?: string }) => kind ?? 'an unknown error',
  );
  await stores.hosts.settled();
  return { answer, repeated: stores.repeated, contents: await stores.contents() };
}

beforeEach(() => {
  // The pauses between attempts.
  vi.spyOn(Math, 'random').mockReturnValue(0);
});
afterEach(() => {
  vi.restoreAllMocks();
});

test.each(Object.entries(SAME))('%s', async (_name, each) => {
  const undisturbed = await carryOut(each);
  const disturbed = await carryOut(each, 'before', 'after');
  expect(disturbed).toEqual({ ...undisturbed, repeated: expect.any(Number) as number });
  expect(disturbed.repeated).toBeGreaterThanOrEqual(2);
});

test.each(Object.entries(ONCE))('%s is not repeated', async (_name, each) => {
  for (const fault of ['before', 'after'] as const)
    expect(await carryOut(each, fault)).toMatchObject({ answer: 'UNAVAILABLE' });
});

describe('an operation whose second run cannot tell whether the first was committed', () => {
  test.each(Object.entries(UNSURE))(
    '%s succeeds if the first run was not committed, and is 503 if it was',
    async (_name, each) => {
      const undisturbed = await carryOut(each);
      expect(await carryOut(each, 'before')).toEqual({ ...undisturbed, repeated: 1 });
      expect(await carryOut(each, 'after')).toMatchObject({ answer: 'UNAVAILABLE', repeated: 1 });
    },
  );

  /** Loses the answer to the next batch at central, and lets another client push in between. */
  async function interrupted(act: (registry: Registry, pushed: Image) => Promise<unknown>): Promise<string> {
    const stores = new Stores();
    await stores.open();
    await image(stores);
    const pushed = await unpushed(stores);
    const { central, now } = stores.hosts;
    const other = await openFixture({ now });
    let isLost = false;
    central.gate = async (call, work) => {
      const answer = await work();
      if (call !== 'batch' || isLost) return answer;
      isLost = true;
      await pushSmallImage(other, 5, [TAG], OTHER);
      throw new Error('D1_ERROR: Network connection lost.');
    };
    return act(central.registry, pushed).then(
      () => 'done',
      ({ kind }: { kind?: string }) => kind ?? 'an unknown error',
    );
  }

  test('a deletion and a conditional push are 503 if another write came in between; a push is made again', async () => {
    expect(await interrupted((registry) => registry.deleteTag(REPOSITORY, TAG))).toBe('UNAVAILABLE');
    const reference = { kind: 'tag', tag: 'new' as Tag } as const;
    const precondition = { ifMatch: undefined, ifNoneMatch: ['*'] };
    const push = (registry: Registry, { digest, manifest }: Image, isConditional: boolean): Promise<number> =>
      registry.putManifest(
        REPOSITORY,
        digest,
        manifest,
        100,
        [reference.tag],
        undefined,
        isConditional ? { reference, precondition } : undefined,
      );
    expect(await interrupted((registry, pushed) => push(registry, pushed, true))).toBe('UNAVAILABLE');
    expect(await interrupted((registry, pushed) => push(registry, pushed, false))).toBe('done');
  });
});
