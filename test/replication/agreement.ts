/**
 * After a run, all faults end. The queues drain, and the hosts must agree with each other and with what clients were
 * told.
 */
import { env } from 'cloudflare:workers';
import { OciError } from '../../src/oci/errors.ts';
import type { RepositoryName, Tag } from '../../src/oci/reference.ts';
import { ControlData } from '../../src/stores/organizations/control-data.ts';
import { mirrorOf } from '../../src/stores/organizations/mirrors.ts';
import { outboxDepth } from '../../src/stores/outbox-rows.ts';
import { granted } from '../support/fixture.ts';
import type { Host, Hosts } from '../support/hosts.ts';
import { OPEN } from '../support/links.ts';
import { BINDINGS } from '../support/bindings.ts';
import { requireVisible, WRONGLY_VISIBLE, type WronglyVisible } from '../support/visible.ts';
import { type Content, INDEX } from './content.ts';
import type { OneBatch } from './one-batch.ts';
import { TAGS } from './operations.ts';
import { equal, itemAt, readBlob, tagsOf } from './reads.ts';
import type { Run } from './run.ts';
import { openRun, sweep } from '../support/maintenance.ts';

/** Longer than a failed job waits. */
const LONG_MILLISECONDS = 15 * 60_000;
const ROUNDS = 6;
const ALWAYS = (): boolean => true;

const AWAY = (): Promise<never> => Promise.reject(new Error('away'));

/** Runs all queues repeatedly until nothing is left. @throws when something stays */
export async function heal(hosts: Hosts, { organization }: Content): Promise<void> {
  for (const { state } of hosts.nodes) state.retry(undefined);
  for (const node of hosts.nodes) node.restartQueue();
  const nodes = hosts.nodes.map(({ store }) => store);
  const run = openRun({ central: hosts.central.store, nodes, now: () => hosts.now });
  let left: unknown;
  for (let round = 0; round < ROUNDS; round++) {
    hosts.now += LONG_MILLISECONDS;
    for (const { queue } of hosts.nodes) {
      queue.expectChangeLog();
      await queue.moveMetadata(ALWAYS);
      await queue.moveBytes(ALWAYS);
    }
    for (const { store } of hosts.all) await sweep(run, store);
    const [waiting, copies] = await Promise.all([
      Promise.all(hosts.nodes.map(({ store }) => outboxDepth(store.database))),
      neededCopies(organization),
    ]);
    const copiesDown = hosts.nodes.map(({ state }) => state.copyDownCount());
    left = { waiting, copies, copiesDown, jobs: hosts.nodes.map(({ state }) => state.waitingJobs('', 0, 100)) };
    if (waiting.every(({ depth }) => depth === 0) && copies === 0 && copiesDown.every((count) => count === 0)) return;
  }
  throw new Error(`the queues do not drain: ${JSON.stringify(left)}`);
}

async function neededCopies(organization: string): Promise<number> {
  const row = await env.DB_CENTRAL.prepare(
    `SELECT count(*) AS count FROM locations c WHERE copy_up_for = ?1 AND EXISTS (
      SELECT 1 FROM manifest_references r JOIN manifests m ON m.repository = r.repository AND m.digest = r.manifest
      WHERE r.digest = c.digest AND m.repository GLOB ?1 || '/*' AND m.created_version > m.deleted_version)`,
  )
    .bind(organization)
    .first<{ count: number }>();
  return row?.count ?? 0;
}

/** The answers that must be equal at all hosts. */
interface View {
  readonly tags: Record<string, number | string>;
  readonly lists: Record<string, string>;
  readonly alive: Record<string, boolean | string>;
  readonly control: Record<string, unknown>;
}

export async function agree(hosts: Hosts, run: Run, content: Content, together: OneBatch): Promise<void> {
  together.on = true;
  const [central, ...nodes] = await Promise.all(hosts.all.map((host) => viewOf(host, content, run)));
  if (central === undefined) throw new Error('the view of central is missing');
  for (const [i, view] of nodes.entries()) requireSame(`node${i + 1}`, view, central, run);
  checkWithOracle(central, run, content);
  await checkVisible(hosts);
  await checkBytes(hosts, central, run, content);
  together.on = false;
  await checkAlone(hosts, central, content, together);
  together.on = false;
}

async function viewOf(host: Host, content: Content, run: Run): Promise<View> {
  const tags: View['tags'] = {};
  const alive: View['alive'] = {};
  const lists: View['lists'] = {};
  const work: Promise<void>[] = [];
  for (const [r, name] of content.repositories.entries()) {
    if (!run.oracle.concerns(r)) continue;
    for (const tag of TAGS) {
      work.push(readTag(host, content, name, tag).then((seen) => void (tags[`${r} ${tag}`] = seen)));
    }
    for (const [m, { digest }] of content.manifests.entries()) {
      const read = host.registry.getManifest(granted(name), { kind: 'digest', digest });
      const { bytes } = itemAt(content.manifests, m);
      const seen = read.then(
        ({ text, size }) => size === bytes.byteLength && text === new TextDecoder().decode(bytes),
        refusal,
      );
      work.push(seen.then((value) => void (alive[`${r} ${m}`] = value)));
    }
    work.push(
      tagsOf(host, name, 1).then(
        (all) => void (lists[`tags ${r}`] = all.join()),
        (error: unknown) => void (lists[`tags ${r}`] = refusal(error) === 'unknown' ? '' : String(error)),
      ),
      host.registry
        .listReferrers(granted(name), itemAt(content.manifests, 0).digest, undefined, { limit: 1, after: '' })
        .then(({ items }) => void (lists[`referrers ${r}`] = items.map(({ digest }) => digest).join())),
    );
  }
  const { organization } = content;
  const pullable = { ranges: [{ from: `${organization}/`, to: `${organization}0` }], withPublic: false };
  work.push(
    host.registry
      .listRepositories(pullable, { limit: 10, after: '' })
      .then(({ items }) => void (lists['repositories'] = items.join())),
  );
  const [control] = await Promise.all([controlOf(host, content), ...work]);
  return { tags: sorted(tags), alive: sorted(alive), lists: sorted(lists), control };
}

async function readTag(host: Host, content: Content, name: RepositoryName, tag: string): Promise<number | string> {
  const read = host.registry.resolveManifest(granted(name), { kind: 'tag', tag: tag as Tag }, false);
  return read.then(({ digest }) => content.manifests.findIndex((manifest) => manifest.digest === digest), refusal);
}

/** Returns the refusal. A missing repository and a missing manifest or tag count as the same. */
function refusal(error: unknown): string {
  if (!(error instanceof OciError)) throw error;
  return error.kind === 'UNAVAILABLE' ? 'unavailable' : 'unknown';
}

async function controlOf({ store }: Host, content: Content): Promise<Record<string, unknown>> {
  const control = new ControlData(store.database);
  const [isPublic, local, others, organization, mirror] = await Promise.all([
    control.publicAmong(content.repositories),
    control.credentials(content.organization, '', 10),
    control.credentials(content.otherOrganization, '', 10),
    control.organization(content.otherOrganization),
    mirrorOf(store.database, content.otherOrganization),
  ]);
  return {
    public: [...isPublic].toSorted(),
    credentials: local.map(({ name }) => name),
    secrets: [...local, ...others].map(({ secret_hash: hash }) => hash),
    organization: organization !== undefined,
    mirror,
  };
}

function requireSame(name: string, view: View, central: View, run: Run): void {
  const [ours, theirs] = [JSON.stringify(view), JSON.stringify(central)];
  if (ours === theirs) return;
  throw new Error(`${name} and central differ:\n${ours}\n${theirs}\n${run.oracle.explain(0)}`);
}

function checkWithOracle({ tags, alive, lists, control }: View, run: Run, content: Content): void {
  const { oracle, beliefs } = run;
  const all = oracle.everything();
  for (const [r, name] of content.repositories.entries()) {
    if (!oracle.concerns(r)) continue;
    const visible = TAGS.filter((tag) => typeof tags[`${r} ${tag}`] === 'number');
    for (const tag of TAGS) {
      const seen = tags[`${r} ${tag}`];
      if (!oracle.tagMayBe(r, tag, typeof seen === 'number' ? seen : null, all)) {
        throw new Error(`in the end ${name}:${tag} is ${seen}\n${oracle.explain(r)}`);
      }
    }
    for (const m of [0, 1, 2, INDEX]) {
      const seen = alive[`${r} ${m}`];
      if (!oracle.manifestMayBe(r, m, seen === true, all)) {
        throw new Error(`in the end manifest ${m} of ${name} is ${seen}\n${oracle.explain(r)}`);
      }
    }
    if (lists[`tags ${r}`] !== visible.join())
      throw new Error(`${name} lists ${lists[`tags ${r}`]}, not ${visible.join()}`);
    const referrers = alive[`${r} 2`] === true ? itemAt(content.manifests, 2).digest : '';
    if (lists[`referrers ${r}`] !== referrers)
      throw new Error(`${name} lists other referrers: ${lists[`referrers ${r}`]}`);
    const isListed = (lists['repositories'] ?? '').split(',').includes(name);
    const isLive = [0, 1, 2, INDEX].some((m) => alive[`${r} ${m}`] === true);
    if (isListed !== isLive) throw new Error(`the catalog ${isListed ? 'shows' : 'lacks'} ${name}`);
    const isPublic = beliefs.of(`public ${name}`);
    if (isPublic !== 'unsure' && isPublic !== (control['public'] as string[]).includes(name)) {
      throw new Error(`${name} should ${isPublic ? '' : 'not '}be public`);
    }
  }
  for (const name of ['one', 'two']) {
    const exists = beliefs.of(`credential ${name}`);
    if (exists !== 'unsure' && exists !== (control['credentials'] as string[]).includes(name)) {
      throw new Error(`the credential ${name} should ${exists ? '' : 'not '}exist`);
    }
  }
  const exists = beliefs.of('organization');
  if (exists !== 'unsure' && exists !== control['organization'])
    throw new Error(`the organization should be ${exists}`);
}

async function checkVisible(hosts: Hosts): Promise<void> {
  for (const { name } of hosts.all) {
    requireVisible(name, (await BINDINGS[name][0].prepare(WRONGLY_VISIBLE).all<WronglyVisible>()).results);
  }
}

/** Checks that central has all bytes, that every host serves them, and that deleted blobs are gone. */
async function checkBytes(hosts: Hosts, { alive }: View, run: Run, content: Content): Promise<void> {
  const wanted = content.repositories.flatMap((name, r) => {
    const live = content.manifests.filter((_, m) => alive[`${r} ${m}`] === true);
    return [...new Set(live.flatMap(({ manifest }) => manifest.requiredBlobs))].map((digest) => ({ name, digest }));
  });
  for (const node of hosts.nodes) node.gate = (call, work) => (call === 'get' || call === 'head' ? AWAY() : work());
  for (const { name, digest } of wanted) {
    const bytes = content.blobs.find((blob) => blob.digest === digest)?.bytes ?? new Uint8Array();
    const read = await readBlob(hosts.central, name, digest);
    if (!equal(read, bytes)) throw new Error(`central serves other bytes for ${digest}`);
  }
  for (const node of hosts.nodes) node.gate = OPEN;
  await Promise.all(
    hosts.nodes.flatMap((node) =>
      wanted.map(async ({ name, digest }) => {
        const found = await node.registry.resolveBlob(granted(name), digest, false);
        const bytes = content.blobs.find((blob) => blob.digest === digest)?.bytes;
        if (found.size !== bytes?.byteLength) throw new Error(`${digest} has another size at ${node.name}`);
      }),
    ),
  );
  const [one] = wanted;
  if (one !== undefined) {
    const bytes = content.blobs.find((blob) => blob.digest === one.digest)?.bytes ?? new Uint8Array();
    for (const node of hosts.nodes) {
      if (!equal(await readBlob(node, one.name, one.digest), bytes)) throw new Error(`${node.name} serves other bytes`);
    }
  }
  for (const { repository, digest } of run.beliefs.deletedBlobs()) {
    if (wanted.some((blob) => blob.name === repository && blob.digest === digest)) continue;
    for (const host of hosts.all) {
      const found = await host.registry.resolveBlob(granted(repository), digest, false).then(() => 'there', refusal);
      if (found !== 'unknown') throw new Error(`blob ${digest} was deleted, but is ${found} at ${host.name}`);
    }
  }
}

const ANNOUNCE_ALL = [
  `INSERT INTO outbox SELECT 'manifest', repository, digest, created_version, 0, '' FROM manifests
    WHERE repository GLOB ?1 || '/*' AND created_version > deleted_version`,
  "INSERT INTO outbox SELECT 'tag', repository, name, version, 0, '' FROM tags WHERE repository GLOB ?1 || '/*'",
];

/** Checks that a node that has announced everything again serves nothing outdated while central is away. */
async function checkAlone(hosts: Hosts, { tags }: View, content: Content, together: OneBatch): Promise<void> {
  for (const database of [env.DB_NODE1, env.DB_NODE2]) {
    await database?.batch(ANNOUNCE_ALL.map((statement) => database.prepare(statement).bind(content.organization)));
  }
  for (const { queue } of hosts.nodes) await queue.moveMetadata(ALWAYS);
  hosts.central.gate = AWAY;
  together.on = true;
  const checks = hosts.nodes.flatMap((node) =>
    content.repositories.flatMap((name, r) =>
      TAGS.map(async (tag) => {
        if (tags[`${r} ${tag}`] === undefined) return;
        const [seen, wanted] = [await readTag(node, content, name, tag), tags[`${r} ${tag}`]];
        if (seen !== wanted && seen !== 'unavailable') {
          throw new Error(`without central ${node.name} says ${seen} for ${name}:${tag}, not ${wanted}`);
        }
      }),
    ),
  );
  await Promise.all(checks);
  hosts.central.gate = OPEN;
}

function sorted<Value>(entries: Record<string, Value>): Record<string, Value> {
  return Object.fromEntries(Object.entries(entries).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
