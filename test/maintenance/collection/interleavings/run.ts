/** Carries out a plan on three hosts, and checks the stores after every step. */
import type { Digest } from '../../../../src/oci/digest.ts';
import { OciError } from '../../../../src/oci/errors.ts';
import type { RepositoryName, Tag } from '../../../../src/oci/reference.ts';
import { outboxDepth } from '../../../../src/stores/outbox-rows.ts';
import type { Registry } from '../../../../src/registry/registry.ts';
import { isAlive } from '../../../../src/stores/versions.ts';
import type { Content } from '../../../replication/content.ts';
import { type Change, type Event, Oracle } from '../../../replication/oracle.ts';
import { equal, itemAt, readBlob } from '../../../replication/reads.ts';
import { bodyOf, GRACE, granted, session, SUBJECT } from '../../../support/fixture.ts';
import type { HostName } from '../../../support/hosts.ts';
import { ALL_TURNS, carryOutWork, isWork, makeDue, turnsLeft } from './maintenance.ts';
import { checkStores } from './invariants.ts';
import type { Isolate, World } from './isolates.ts';
import { FORMS, type Form, type Operation, type Plan, type Step, type Target, type Way } from './operations.ts';
import { Promises } from './promises.ts';
import { StoresSeen } from './stores-seen.ts';

const HOUR = 3_600_000;

/** An operation under way. */
interface RunningOperation {
  readonly step: Step;
  readonly isolate: Isolate;
  /** When it began, in milliseconds since the epoch. */
  readonly begun: number;
  readonly done: Promise<void>;
  /** Changes whose client has no answer yet. */
  readonly changes: Set<Event>;
  /** Functions to call when it has ended, in whatever way. */
  readonly whenEnded: (() => void)[];
}

/** The part that the operation itself uses. */
type Work = Pick<RunningOperation, 'isolate' | 'changes' | 'whenEnded'>;

export class Run {
  readonly oracle = new Oracle();
  readonly promises = new Promises();
  readonly seen: StoresSeen;
  /** The isolate that wrote each object, by key. */
  readonly writers = new Map<string, Isolate>();
  readonly content: Content;
  readonly #world: World;
  readonly #held = new Map<RunningOperation, number>();

  constructor(world: World, content: Content) {
    this.#world = world;
    this.content = content;
    this.seen = new StoresSeen(world);
  }

  async carryOut({ steps }: Plan): Promise<void> {
    await this.seen.look();
    for (const [i, step] of steps.entries()) {
      this.#world.now += step.pause;
      await this.#resumeDue(i);
      await this.#start(step, i);
    }
    await this.#resumeDue(Infinity);
  }

  /** Carries out operations one after another, without interruption. */
  async undisturbed(operations: readonly Operation[]): Promise<void> {
    const isolate = await this.#world.isolate();
    const work: Work = { isolate, changes: new Set(), whenEnded: [] };
    for (const operation of operations) await this.#do(operation, work);
    await isolate.hosts.settled();
    for (const tell of work.whenEnded) tell();
    await this.#look(isolate);
  }

  async #start(step: Step, at: number): Promise<void> {
    const { operation, stop } = step;
    if (isWork(operation)) await makeDue(operation);
    const isolate = await this.#world.isolate(stop, operation.kind === 'collect central' ? operation.away : null);
    const work: Work = { isolate, changes: new Set(), whenEnded: [] };
    const done = this.#do(operation, work).then(() => isolate.hosts.settled());
    const running: RunningOperation = { ...work, step, begun: this.#world.now, done };
    await Promise.race([done, isolate.stopped]);
    if (!isolate.isHalted) this.#ended(running);
    else {
      // Nobody awaits the outcome of a stopped isolate for now.
      done.catch(() => undefined);
      for (const event of work.changes) this.oracle.end(event, false);
      if (stop?.resume == null) this.#kill(running);
      else this.#held.set(running, at + stop.resume);
    }
    await this.#look(isolate);
  }

  async #resumeDue(at: number): Promise<void> {
    const due = [...this.#held].filter(([, when]) => when < at).map(([running]) => running);
    for (const running of due) {
      this.#held.delete(running);
      if (this.#isTooLate(running)) this.#kill(running);
      else {
        running.isolate.resume();
        await running.done;
        this.#ended(running);
      }
      await this.#look(running.isolate);
    }
  }

  /**
   * Whether an operation was held for too long to go on. Requests, queues and calls under way are never held for an
   * hour. Maintenance may be held for longer, since it reads the clock again.
   */
  #isTooLate({ step: { operation, stop }, begun }: RunningOperation): boolean {
    return (!isWork(operation) || stop?.at === 'before') && this.#world.now - begun >= HOUR;
  }

  #kill(running: RunningOperation): void {
    running.isolate.kill();
    const { operation } = running.step;
    if (operation.kind === 'bytes') this.#world.stateOf(operation.node).restart();
    this.#ended(running);
  }

  #ended({ whenEnded }: RunningOperation): void {
    for (const tell of whenEnded) tell();
  }

  async #look(isolate: Isolate): Promise<void> {
    for (const key of await this.seen.look()) this.writers.set(key, isolate);
    checkStores(this, this.#world);
  }

  async #do(operation: Operation, work: Work): Promise<void> {
    const { hosts } = work.isolate;
    switch (operation.kind) {
      case 'blobs':
        for (const digest of this.#required(operation.manifest))
          await this.#offer(operation, digest, operation.way, work);
        return;
      case 'commit':
        return this.#commit(operation, operation.manifest, operation.tags, work);
      case 'upload': {
        const { registry } = hosts[operation.host];
        const name = this.#repository(operation);
        const open = await registry.openUpload(name, SUBJECT, 'sha256');
        const { bytes } = itemAt(this.content.blobs, operation.blob);
        const begun = await registry.appendChunk(session(open, name), undefined, bodyOf(bytes.slice(0, 4)));
        if (operation.end === 'cancelled') await registry.cancelUpload(session(begun, name));
        return;
      }
      case 'delete tag':
      case 'delete manifest':
      case 'delete repository':
        return this.#delete(operation, operation, work);
      case 'delete blob': {
        const { digest } = itemAt(this.content.blobs, operation.blob);
        work.whenEnded.push(this.promises.deleting(operation.repository, digest));
        await answerTo(hosts[operation.host].registry.deleteBlob(this.#repository(operation), digest));
        return;
      }
      case 'pull':
      case 'pull digest':
        return this.#pull(operation, operation.kind === 'pull' ? operation.tag : operation.manifest, work);
      case 'read blob':
        return this.#read(operation, itemAt(this.content.blobs, operation.blob).digest, work);
      case 'metadata':
      case 'bytes':
        return this.#runQueue(operation, work);
      case 'collect central':
      case 'collect node':
      case 'evict':
      case 'tombstones':
      case 'expired uploads':
      case 'change log':
        return carryOutWork(operation, hosts, () => this.#world.timeAt('central'));
    }
  }

  /** Brings a blob into a repository, or finds it there. Either makes a promise. */
  async #offer(at: Target, digest: Digest, way: Way, { isolate }: Work): Promise<void> {
    const { registry } = isolate.hosts[at.host];
    const name = this.#repository(at);
    const promised = (): void => {
      const { host, repository } = at;
      this.promises.made({ host, repository, digest, until: this.#world.now + GRACE });
    };
    if (way === 'head' || way === 'head or digest') {
      const found = await answerTo(registry.resolveBlob(granted(name), digest, true));
      if (found instanceof OciError) {
        if (way === 'head') return;
      } else return promised();
    }
    if (way === 'mount or digest') {
      const other = granted(this.#repository({ repository: 1 - at.repository }));
      if (await registry.mountBlob(name, digest, other)) return promised();
    }
    await this.#push(at, digest, FORMS.find((form) => form === way) ?? 'digest', isolate);
    promised();
  }

  async #push(at: Target, digest: Digest, form: Form, { hosts }: Isolate): Promise<void> {
    const { registry } = hosts[at.host];
    const name = this.#repository(at);
    const bytes = this.#bytes(digest);
    if (form === 'digest') return registry.putBlob(name, digest, bodyOf(bytes));
    const open = await registry.openUpload(name, SUBJECT, 'sha256');
    if (form === 'post') return registry.finishUpload(session(open, name), digest, undefined, bodyOf(bytes));
    const half = form === 'patch' ? bytes.byteLength : 4;
    const begun = await registry.appendChunk(session(open, name), undefined, bodyOf(bytes.slice(0, half)));
    const rest = bytes.slice(half);
    if (form === 'chunk and put') return registry.finishUpload(session(begun, name), digest, undefined, bodyOf(rest));
    const whole = form === 'patch' ? begun : await registry.appendChunk(session(begun, name), undefined, bodyOf(rest));
    return registry.finishUpload(session(whole, name), digest, undefined, undefined);
  }

  async #commit({ host, repository }: Target, manifest: number, tags: readonly string[], work: Work): Promise<void> {
    const image = itemAt(this.content.manifests, manifest);
    const event = this.#begin(host, { kind: 'push', repository, manifest, tags }, work);
    const begun = this.#world.now;
    const areKept = (): boolean =>
      this.#required(manifest).every((digest) => this.promises.isKept(host, repository, digest, begun));
    const kept = areKept();
    const { registry } = work.isolate.hosts[host];
    const name = this.#repository({ repository });
    const answer = await answerTo(
      registry.putManifest(name, image.digest, image.manifest, image.bytes.byteLength, tags as Tag[]),
    );
    if (!(answer instanceof OciError)) return this.#end(event, true, work);
    if (answer.kind !== 'MANIFEST_BLOB_UNKNOWN') throw answer;
    this.#end(event, false, work);
    if (kept && areKept())
      throw new Error(`manifest ${manifest} was refused at ${host} although its blobs were promised`);
  }

  async #delete({ host, repository }: Target, change: Change, work: Work): Promise<void> {
    const { registry } = work.isolate.hosts[host];
    const name = this.#repository({ repository });
    const event = this.#begin(host, change, work);
    if (change.kind === 'delete repository') work.whenEnded.push(this.promises.deleting(repository, undefined));
    const answer = await answerTo(deletion(registry, name, change, this.content));
    this.#end(event, !(answer instanceof OciError), work);
  }

  #begin(host: HostName, change: Change, { changes }: Work): Event {
    const event = this.oracle.begin(host, change);
    changes.add(event);
    return event;
  }

  #end(event: Event, isAcknowledged: boolean, { changes, isolate }: Work): void {
    changes.delete(event);
    // A change that was refused did not happen.
    if (isAcknowledged || isolate.wasHalted) this.oracle.end(event, isAcknowledged);
  }

  /** Reads as a client. Everything that the stores say is readable must be readable. */
  async #pull({ host, repository }: Target, what: string | number, work: Work): Promise<void> {
    const { isolate } = work;
    const name = this.#repository({ repository });
    const reader = isolate.hosts[host];
    const reference =
      typeof what === 'string'
        ? ({ kind: 'tag', tag: what as Tag } as const)
        : ({ kind: 'digest', digest: itemAt(this.content.manifests, what).digest } as const);
    const answer = await answerTo(reader.registry.getManifest(granted(name), reference));
    if (isolate.wasHalted) return;
    const expected =
      typeof what === 'string'
        ? this.seen.tag(host, name, what)
        : isAlive(this.seen.shown(host, name, itemAt(this.content.manifests, what).digest));
    const found = answer instanceof OciError ? null : answer.digest;
    if (typeof what === 'string') {
      if (found !== expected)
        throw new Error(`${host} serves ${found} for ${what}, but its rows say ${String(expected)}`);
      this.oracle.shown(host, repository, what);
    } else if ((found !== null) !== expected)
      throw new Error(`${host} ${found === null ? 'lacks' : 'serves'} manifest ${what}`);
    const manifest = this.content.manifests.findIndex(({ digest }) => digest === found);
    if (answer instanceof OciError || manifest < 0) return;
    if (answer.text !== new TextDecoder().decode(itemAt(this.content.manifests, manifest).bytes)) {
      throw new Error(`${host} serves another document for manifest ${manifest}`);
    }
    for (const digest of this.#required(manifest)) await this.#read({ host, repository }, digest, work);
  }

  async #read({ host, repository }: Target, digest: Digest, { isolate }: Work): Promise<void> {
    const name = this.#repository({ repository });
    const reader = isolate.hosts[host];
    const read = await answerTo(readBlob(reader, name, digest));
    if (isolate.wasHalted) return;
    if (!(read instanceof OciError)) {
      if (!equal(read, this.#bytes(digest))) throw new Error(`${reader.name} serves other bytes for ${digest}`);
    } else if (this.seen.isReadable(reader.name, name, digest)) {
      throw new Error(`blob ${digest} cannot be read at ${reader.name}: ${read.kind}`);
    }
  }

  async #runQueue(
    { kind, node, turns }: Extract<Operation, { kind: 'metadata' | 'bytes' }>,
    work: Work,
  ): Promise<void> {
    const { isolate } = work;
    const { queue, store } = isolate.hosts[node];
    queue.wakeUp();
    queue.expectChangeLog();
    const mayGoOn = turnsLeft(turns);
    if (kind === 'bytes') return queue.moveBytes(mayGoOn);
    await queue.moveMetadata(mayGoOn);
    if (turns < ALL_TURNS || isolate.wasHalted) return;
    this.promises.applied(node);
    if ((await outboxDepth(store.database)).depth === 0) this.oracle.exchanged(node);
  }

  #required(manifest: number): readonly Digest[] {
    return itemAt(this.content.manifests, manifest).manifest.requiredBlobs;
  }

  #repository({ repository }: { readonly repository: number }): RepositoryName {
    return itemAt(this.content.repositories, repository);
  }

  #bytes(digest: Digest): Uint8Array<ArrayBuffer> {
    const blob = this.content.blobs.find((one) => one.digest === digest);
    if (blob === undefined) throw new Error(`there is no blob ${digest}`);
    return blob.bytes;
  }
}

function deletion(registry: Registry, name: RepositoryName, change: Change, { manifests }: Content): Promise<void> {
  switch (change.kind) {
    case 'delete tag':
      return registry.deleteTag(name, change.tag as Tag);
    case 'delete manifest':
      return registry.deleteManifest(name, itemAt(manifests, change.manifest).digest);
    case 'delete repository':
      return registry.deleteRepository(name);
    case 'push':
      throw new Error('a push is not a deletion');
  }
}

/** Returns an answer or a refusal. @throws every other error: no store is away here */
async function answerTo<Value>(asked: Promise<Value>): Promise<Value | OciError> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof OciError && error.kind !== 'UNAVAILABLE') return error;
    throw error;
  }
}
