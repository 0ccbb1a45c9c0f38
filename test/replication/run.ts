/** Runs a plan on three hosts, and compares each answer with what the oracle allows. */
import { Administration } from '../../src/auth/administration.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { OciError } from '../../src/oci/errors.ts';
import type { RepositoryName, Tag } from '../../src/oci/reference.ts';
import { ControlData } from '../../src/stores/organizations/control-data.ts';
import { removeMirror, setMirror } from '../../src/stores/organizations/mirrors.ts';
import { outboxDepth } from '../../src/stores/outbox-rows.ts';
import { bodyOf, GRACE, granted } from '../support/fixture.ts';
import { HOST_NAMES, type HostName, type Hosts } from '../support/hosts.ts';
import { mirror } from '../support/mirrors.ts';
import { Beliefs } from './beliefs.ts';
import { checkList, checkManifest, checkTag, checkTagsAbove } from './checks.ts';
import { collectAtCentral } from './collect.ts';
import { type Content, credential, INDEX } from './content.ts';
import { type Faults, Unreachable } from './faults.ts';
import type { Operation, Plan, Step, Target, Way } from './operations.ts';
import { type Change, type Event, Oracle } from './oracle.ts';
import { equal, itemAt, readBlob, tagsOf } from './reads.ts';

/** The answer that a client gets: a value, a refusal, or a failure that says nothing. */
export type Answer<Value> =
  | { readonly kind: 'answered'; readonly value: Value }
  | { readonly kind: 'refused'; readonly error: OciError }
  | { readonly kind: 'failed' };

export class Run {
  readonly oracle = new Oracle();
  readonly beliefs = new Beliefs();
  readonly administration: Administration;
  readonly #hosts: Hosts;
  readonly #faults: Faults;
  readonly #content: Content;
  /** True if the current operation may fail. */
  #faulty = false;
  /** True if the current operation may fail, or if another operation happens within it. */
  #disturbed = false;
  #reads = 0;
  /** The queues that are running: each does one thing at a time. */
  readonly #busy = new Set<string>();

  constructor(hosts: Hosts, faults: Faults, content: Content) {
    this.#hosts = hosts;
    this.#faults = faults;
    this.#content = content;
    const control = new ControlData(hosts.central.store.database);
    this.administration = new Administration(
      control,
      () => hosts.now + hosts.central.skew,
      () => undefined,
    );
  }

  async carryOut({ skews, steps }: Plan): Promise<void> {
    for (const name of HOST_NAMES) this.#hosts[name].skew = skews[name];
    await this.administration.createOrganization(this.#content.organization);
    for (const step of steps) await this.#step(step);
    await this.#faults.catchUp();
  }

  async #step({ pause, operation, fault }: Step): Promise<void> {
    this.#hosts.now += pause;
    this.#faulty = typeof fault?.effect === 'string';
    this.#disturbed = fault !== null;
    const due = this.#faults.late();
    await this.#faults.during(
      fault,
      async () => {
        await this.#do(operation);
        await this.#answer(this.#hosts.settled());
      },
      async (meanwhile) => {
        await this.#do(meanwhile);
      },
    );
    if (fault?.effect === 'away' && (operation.kind === 'metadata' || operation.kind === 'bytes')) {
      this.#hosts[operation.node].restartQueue();
    }
    for (const work of due) await work();
  }

  async #do(operation: Operation): Promise<void> {
    const { administration } = this;
    const { organization, otherOrganization } = this.#content;
    switch (operation.kind) {
      case 'push':
        await this.#push(operation, operation.image, operation.tags, operation.way);
        return;
      case 'push index':
        for (const manifest of [0, 1, INDEX]) await this.#push(operation, manifest, [operation.tag], operation.way);
        return;
      case 'reuse':
        return this.#reuse(operation);
      case 'delete tag':
        return this.#delete(operation, { kind: 'delete tag', repository: operation.repository, tag: operation.tag });
      case 'delete manifest':
        return this.#delete(operation, {
          kind: 'delete manifest',
          repository: operation.repository,
          manifest: operation.image,
        });
      case 'delete repository':
        return this.#delete(operation, { kind: 'delete repository', repository: operation.repository });
      case 'delete blob':
        return this.#deleteBlob(operation, this.#digest(operation.blob));
      case 'pull':
        return this.#pull(operation, operation.tag);
      case 'pull digest':
        await this.#see(operation, operation.image);
        return;
      case 'list':
        return this.#list(operation, operation.limit);
      case 'visibility': {
        const name = this.#repository(operation);
        const answer = await this.#answer(administration.setVisibility(name, operation.isPublic));
        return this.beliefs.told(`public ${name}`, operation.isPublic, answer.kind, this.#disturbed);
      }
      case 'create credential': {
        const answer = await this.#answer(administration.createCredential(credential(organization, operation.name)));
        return this.beliefs.told(`credential ${operation.name}`, true, answer.kind, this.#disturbed);
      }
      case 'remove credential': {
        const answer = await this.#answer(administration.removeCredential(organization, operation.name));
        return this.beliefs.told(`credential ${operation.name}`, false, answer.kind, this.#disturbed);
      }
      case 'create organization': {
        const answer = await this.#answer(administration.createOrganization(otherOrganization));
        this.beliefs.told('organization', true, answer.kind, this.#disturbed);
        await this.#answer(administration.createCredential(credential(otherOrganization, 'owner')));
        return;
      }
      case 'remove organization': {
        const answer = await this.#answer(administration.removeOrganization(otherOrganization));
        return this.beliefs.told('organization', false, answer.kind, this.#disturbed);
      }
      // Whether it is a mirror also depends on the organization, so the test only compares the hosts.
      case 'set mirror': {
        const made = mirror(otherOrganization, { changedAt: this.#hosts.now });
        await this.#answer(setMirror(this.#hosts.central.store.database, made));
        return;
      }
      case 'remove mirror':
        await this.#answer(removeMirror(this.#hosts.central.store.database, otherOrganization, this.#hosts.now));
        return;
      case 'metadata':
      case 'bytes':
        return this.#runQueue(operation.kind, operation.node, operation.turns);
      case 'restart':
        if (this.#busy.size === 0) this.#hosts[operation.node].restartQueue();
        return;
      case 'collect':
        return collectAtCentral(this.#hosts, this.#content);
    }
  }

  async #push(at: Target, manifest: number, tags: readonly string[], way: Way): Promise<void> {
    const { repository } = at;
    if (!(await this.#pushBlobs(at, manifest, way))) return;
    const outcome = await this.#commit(at, manifest, tags);
    // A client that pushed or found all blobs may commit.
    if (outcome === 'refused' && !this.#disturbed) throw new Error(`manifest ${manifest} was refused at ${at.host}`);
    if (outcome !== 'answered' || this.#disturbed || this.#reads++ % 3 > 0) return;
    const seen = await this.#see({ host: at.host, repository }, manifest);
    if (seen !== true) throw new Error(`manifest ${manifest} is not at ${at.host}, which has just acknowledged it`);
  }

  async #commit(
    { host, repository }: Target,
    manifest: number,
    tags: readonly string[],
  ): Promise<Answer<void>['kind']> {
    const image = this.#manifest(manifest);
    const event = this.oracle.begin(host, { kind: 'push', repository, manifest, tags });
    const { registry } = this.#hosts[host];
    const name = this.#repository({ repository });
    const answer = await this.#answer(
      registry.putManifest(name, image.digest, image.manifest, image.bytes.byteLength, tags as Tag[]),
    );
    if (answer.kind === 'refused' && answer.error.kind !== 'MANIFEST_BLOB_UNKNOWN') throw answer.error;
    this.#end(event, answer);
    return answer.kind;
  }

  /** Returns whether the client may continue with the manifest. */
  async #pushBlobs(at: Target, manifest: number, way: Way): Promise<boolean> {
    const name = this.#repository(at);
    const { registry } = this.#hosts[at.host];
    for (const digest of this.#manifest(manifest).manifest.requiredBlobs) {
      this.beliefs.linked(name, digest);
      if (way === 'head' && (await this.#has(at, digest))) continue;
      if (way === 'mount') {
        const other = granted(this.#repository({ repository: 1 - at.repository }));
        const mounted = await this.#answer(registry.mountBlob(name, digest, other));
        if (mounted.kind === 'answered' && mounted.value) continue;
      }
      const sent = await this.#answer(registry.putBlob(name, digest, bodyOf(this.#bytes(digest))));
      if (sent.kind === 'refused') throw sent.error;
      if (sent.kind === 'failed') return false;
    }
    return true;
  }

  async #has(at: Target, digest: Digest): Promise<boolean> {
    const { registry } = this.#hosts[at.host];
    const found = await this.#answer(registry.resolveBlob(granted(this.#repository(at)), digest, true));
    return found.kind === 'answered';
  }

  async #reuse(operation: Extract<Operation, { kind: 'reuse' }>): Promise<void> {
    const { image, tag, quarters, collect } = operation;
    for (const digest of this.#manifest(image).manifest.requiredBlobs) {
      this.beliefs.linked(this.#repository(operation), digest);
      if (!(await this.#has(operation, digest))) return;
    }
    this.#hosts.now += (quarters * GRACE) / 4;
    if (collect) await collectAtCentral(this.#hosts, this.#content);
    const outcome = await this.#commit(operation, image, [tag]);
    if (outcome === 'refused' && quarters < 4 && !this.#disturbed) {
      throw new Error(`image ${image} was refused at ${operation.host} although its blobs were promised`);
    }
  }

  async #delete(at: Target, change: Change): Promise<void> {
    const { registry } = this.#hosts[at.host];
    const name = this.#repository(at);
    const known = this.oracle.known(at.host, true);
    const event = this.oracle.begin(at.host, change);
    switch (change.kind) {
      case 'delete tag': {
        const answer = await this.#answer(registry.deleteTag(name, change.tag as Tag));
        this.#end(event, answer);
        if (answer.kind === 'refused') checkTag(this.oracle, at, change.tag, null, known);
        if (answer.kind === 'answered' && !this.#disturbed) await this.#pullEverywhere(at.repository, change.tag);
        return;
      }
      case 'delete manifest': {
        const answer = await this.#answer(registry.deleteManifest(name, this.#manifest(change.manifest).digest));
        this.#end(event, answer);
        if (answer.kind === 'refused' && answer.error.kind === 'MANIFEST_IN_USE')
          checkTagsAbove(this.oracle, at, answer.error, known);
        else if (answer.kind === 'refused') checkManifest(this.oracle, at, change.manifest, false, known);
        if (answer.kind !== 'answered' || this.#disturbed) return;
        if ((await this.#see(at, change.manifest)) === true) {
          throw new Error(`manifest ${change.manifest} is at ${at.host}, which has just acknowledged its deletion`);
        }
        return this.#pullEverywhere(at.repository, 'x');
      }
      case 'delete repository': {
        const answer = await this.#answer(registry.deleteRepository(name));
        this.#end(event, answer);
        this.beliefs.told(`public ${name}`, false, answer.kind, this.#disturbed);
        return;
      }
      case 'push':
        throw new Error('a push is not a deletion');
    }
  }

  async #deleteBlob(at: Target, digest: Digest): Promise<void> {
    const name = this.#repository(at);
    const { registry } = this.#hosts[at.host];
    const answer = await this.#answer(registry.deleteBlob(name, digest));
    if (answer.kind !== 'answered' || this.#disturbed) return;
    this.beliefs.unlinked(name, digest);
    const found = await this.#answer(registry.resolveBlob(granted(name), digest, false));
    if (found.kind !== 'refused') throw new Error(`a blob is at ${at.host}, which has just acknowledged its deletion`);
  }

  /** Returns whether a manifest is alive, by digest; undefined if the read failed. */
  async #see(at: Target, manifest: number): Promise<boolean | undefined> {
    const { registry } = this.#hosts[at.host];
    const { digest, bytes } = this.#manifest(manifest);
    const [mine, all] = [this.oracle.known(at.host, false), this.oracle.known(at.host, !this.#faulty)];
    const answer = await this.#answer(registry.getManifest(granted(this.#repository(at)), { kind: 'digest', digest }));
    if (answer.kind === 'failed') return undefined;
    const alive = answer.kind === 'answered';
    checkManifest(this.oracle, at, manifest, alive, alive ? mine : all);
    if (alive && (answer.value.size !== bytes.byteLength || answer.value.text !== new TextDecoder().decode(bytes)))
      throw new Error(`${at.host} returned another manifest`);
    if (alive) await this.#readBlobs(at, manifest);
    return alive;
  }

  async #pull(at: Target, tag: string): Promise<void> {
    const { registry } = this.#hosts[at.host];
    const known = this.oracle.known(at.host, !this.#faulty);
    const answer = await this.#answer(
      registry.getManifest(granted(this.#repository(at)), { kind: 'tag', tag: tag as Tag }),
    );
    if (answer.kind === 'failed') return;
    const manifest = answer.kind === 'answered' ? this.#numberOf(answer.value.digest) : null;
    checkTag(this.oracle, at, tag, manifest, known);
    if (!this.#disturbed) this.oracle.shown(at.host, at.repository, tag);
    if (manifest !== null) await this.#readBlobs(at, manifest);
  }

  /** A deletion must be visible by tag, and in lists, wherever central is asked. */
  async #pullEverywhere(repository: number, tag: string): Promise<void> {
    for (const host of HOST_NAMES) {
      await this.#pull({ host, repository }, tag);
      await this.#list({ host, repository }, 2);
    }
  }

  async #readBlobs(at: Target, manifest: number): Promise<void> {
    for (const digest of this.#manifest(manifest).manifest.requiredBlobs) {
      this.beliefs.linked(this.#repository(at), digest);
      const read = await this.#answer(readBlob(this.#hosts[at.host], this.#repository(at), digest));
      if (read.kind === 'answered' && !equal(read.value, this.#bytes(digest)))
        throw new Error(`${digest} has other bytes`);
      if (read.kind !== 'answered' && !this.#disturbed) {
        throw new Error(`blob ${digest} of manifest ${manifest} cannot be read at ${at.host}`);
      }
    }
  }

  async #list(at: Target, limit: number): Promise<void> {
    const known = this.oracle.known(at.host, !this.#faulty);
    const answer = await this.#answer(tagsOf(this.#hosts[at.host], this.#repository(at), limit));
    if (answer.kind === 'failed' || this.#disturbed) return;
    const tags = answer.kind === 'answered' ? answer.value : [];
    checkList(this.oracle, at, tags, known);
  }

  async #runQueue(kind: 'metadata' | 'bytes', node: Exclude<HostName, 'central'>, turns: number): Promise<void> {
    const { queue, store } = this.#hosts[node];
    const lane = `${kind} ${node}`;
    if (this.#busy.has(lane)) return;
    this.#busy.add(lane);
    let left = turns;
    const mayGoOn = (): boolean => left-- > 0;
    queue.wakeUp();
    queue.expectChangeLog();
    await (kind === 'bytes' ? queue.moveBytes(mayGoOn) : queue.moveMetadata(mayGoOn));
    this.#busy.delete(lane);
    if (kind === 'bytes') return;
    if (this.#disturbed || turns < 100) return;
    if ((await outboxDepth(store.database)).depth === 0) this.oracle.exchanged(node);
  }

  #end(event: Event, { kind }: Answer<unknown>): void {
    if (kind !== 'refused') this.oracle.end(event, kind === 'answered');
  }

  /** Returns the answer. @throws unexpected errors, and failures that the plan did not cause */
  async #answer<Value>(asked: Promise<Value>): Promise<Answer<Value>> {
    try {
      return { kind: 'answered', value: await asked };
    } catch (error) {
      const failed = error instanceof Unreachable || (error instanceof OciError && error.kind === 'UNAVAILABLE');
      if (failed && this.#faulty) return { kind: 'failed' };
      if (failed || !(error instanceof OciError)) throw error;
      return { kind: 'refused', error };
    }
  }

  #repository({ repository }: { readonly repository: number }): RepositoryName {
    return itemAt(this.#content.repositories, repository);
  }

  #manifest(number: number): Content['manifests'][number] {
    return itemAt(this.#content.manifests, number);
  }

  #numberOf(digest: Digest): number {
    return this.#content.manifests.findIndex((manifest) => manifest.digest === digest);
  }

  #digest(blob: number): Digest {
    return itemAt(this.#content.blobs, blob).digest;
  }

  #bytes(digest: Digest): Uint8Array<ArrayBuffer> {
    const blob = this.#content.blobs.find((one) => one.digest === digest);
    if (blob === undefined) throw new Error(`no blob has the digest ${digest}`);
    return blob.bytes;
  }
}
