/**
 * The Durable Object of a mirror at one store. It alone asks the upstream for tags and manifests, so that clients who
 * ask for the same thing share one question. It stores pulled images: a manifest once all its blobs are stored.
 *
 * Its alarm stores images. It is not a replication queue, so no announcement waits for it.
 */
import { DurableObject } from 'cloudflare:workers';
import { type Config, parseConfig } from '../config.ts';
import { MINUTE } from '../durations.ts';
import { Slice } from '../upstream/slice.ts';
import { logFailure } from '../log.ts';
import type { Namespace } from '../namespaces/namespace.ts';
import type { Digest } from '../oci/digest.ts';
import type { OrganizationName, RepositoryName, Tag } from '../oci/reference.ts';
import { composeMirrorList } from '../registry/compose.ts';
import { mayBeStale, verdictOn } from '../registry/mirrored/freshness.ts';
import type { MirroredTag } from '../registry/mirrored/upstreams.ts';
import type { ManifestDescriptor, PageRequest, Registry } from '../registry/registry.ts';
import { within } from '../stores/deadline.ts';
import { SMALL_DOCUMENT_BYTES } from '../stores/manifests/manifest-rows.ts';
import { StatementMeter } from '../stores/statement-meter.ts';
import type {
  DeleteAnswer,
  ManifestAnswer,
  MirrorAt,
  MirrorStatus,
  ReferrersAnswer,
  TagAnswer,
  TagsAnswer,
} from './answers.ts';
import { registryBeneath, storeBeneath } from './beneath.ts';
import { Forwarder } from './forwarder.ts';
import { ImageStore } from './image-store.ts';
import { type KnownTag, MirrorState } from './mirror-state.ts';
import { OutgoingState } from './outgoing-state.ts';
import { isAbsence } from './reach-upstream.ts';
import type { LoginAnswer, RefusedLogin } from './shared-login.ts';
import { UpstreamClient } from './upstream-client.ts';
import { pageOfReferrers, referrersAt, tagsAt } from './upstream-lists.ts';

/** The longest that a client waits for the upstream if there is an older answer. */
const PATIENCE_MILLISECONDS = 3000;
/** The longest that a client waits for the upstream otherwise. */
const ANSWER_MILLISECONDS = 30_000;
/** The time after which an alarm that could not begin tries again. */
const AGAIN_MILLISECONDS = 10_000;
/** The time for which a tag that the upstream lacks counts as missing. */
const MISSING_MILLISECONDS = MINUTE;

/** The most parked pushes that are shown. */
const MAX_PARKED = 100;

export class OrganizationMirror extends DurableObject<Env> {
  readonly #config: Config;
  readonly #state: MirrorState;
  /** Counts the statements of all work in this object. */
  readonly #meter = new StatementMeter();
  /** Questions under way, by their subjects. */
  readonly #asking = new Map<string, Promise<unknown>>();
  /** Another after each change of the mirror. */
  #upstream: UpstreamClient;
  readonly #images: ImageStore;
  readonly #outgoing: OutgoingState;
  readonly #forwarder: Forwarder;
  #registry: Registry | undefined;
  #used: MirrorAt | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#config = parseConfig(env);
    this.#state = new MirrorState(ctx.storage.sql);
    this.#upstream = this.#newUpstream();
    const beneath = {
      registry: ({ namespace }: MirrorAt) => this.#beneath(namespace),
      store: ({ namespace }: MirrorAt) => storeBeneath(env, this.#config, namespace, this.#meter),
    };
    this.#outgoing = new OutgoingState(ctx.storage.sql);
    this.#images = new ImageStore(env, this.#state, this.#outgoing, beneath.registry);
    this.#forwarder = new Forwarder(
      this.#config,
      this.#state,
      this.#outgoing,
      () => this.#upstream,
      beneath,
      (repository, reference) => this.#outdate(repository, reference),
    );
  }

  /** Resolves a tag. Asks the upstream first if the last answer is too old. */
  async tag(asker: MirrorAt, repository: RepositoryName, tag: Tag): Promise<TagAnswer> {
    const at = await this.#use(asker);
    const upstream = this.#upstream;
    const pushed = at.mirror.pushes === 'forwarded' ? this.#outgoing.pushed(repository, tag) : undefined;
    if (pushed !== undefined) return { tag: { descriptor: pushed, checkedAt: Date.now(), freshness: 'fresh' } };
    const known = this.#state.tag(repository, tag);
    if (known !== undefined && Date.now() < known.missingUntil) return {};
    const found = known?.missingUntil === 0 ? known : undefined;
    const verdict = verdictOn(found?.checkedAt, at.mirror, Date.now());
    if (verdict === 'serve') return { tag: mirrored(found, 'fresh') };
    const asked = this.#once(at, repository, `tag ${tag}`, (isLatest) =>
      this.#askTag(at, repository, tag, known, isLatest),
    );
    if (verdict === 'serve, then ask') {
      this.ctx.waitUntil(asked);
      return { tag: mirrored(found, upstream.isPaused ? 'failing' : 'stale') };
    }
    const isKnown = found !== undefined && mayBeStale(found.checkedAt, at.mirror, Date.now());
    const answer = await within(isKnown ? PATIENCE_MILLISECONDS : ANSWER_MILLISECONDS, asked).catch((): TagAnswer => {
      const reason = `${at.mirror.from} has not answered yet`;
      return { failure: { reason, retryAfter: PATIENCE_MILLISECONDS, hasAnswered: found !== undefined } };
    });
    return isKnown && answer.failure !== undefined ? { tag: mirrored(found, 'failing') } : answer;
  }

  /**
   * Returns a manifest by its digest, and makes its image due to be stored.
   * @param wantsText whether there is room for the document
   */
  async manifest(
    asker: MirrorAt,
    repository: RepositoryName,
    digest: Digest,
    wantsText: boolean,
  ): Promise<ManifestAnswer> {
    const at = await this.#use(asker);
    if (this.#state.descriptor(repository, digest) === undefined) {
      const failure = await this.#once(at, repository, `manifest ${digest}`, (isLatest) =>
        this.#upstream.fetch(at.mirror, repository, digest, isLatest),
      );
      if (failure !== undefined) return { failure };
    }
    const descriptor = this.#state.descriptor(repository, digest);
    if (descriptor === undefined) return {};
    this.#state.addDue(repository, digest, Date.now());
    await this.#schedule();
    const hasText = wantsText || descriptor.size <= SMALL_DOCUMENT_BYTES;
    const kept = hasText ? this.#state.manifest(repository, digest) : undefined;
    return { descriptor, text: kept && TEXT.decode(kept.bytes) };
  }

  /** Describes a manifest by its digest. */
  async describe(asker: MirrorAt, repository: RepositoryName, digest: Digest): Promise<ManifestAnswer> {
    const at = await this.#use(asker);
    const upstream = this.#upstream;
    const kept = this.#state.descriptor(repository, digest);
    if (kept !== undefined) return { descriptor: kept };
    return this.#once(at, repository, `description ${digest}`, async (isLatest): Promise<ManifestAnswer> => {
      try {
        return { descriptor: await upstream.describe(at.mirror, repository, digest, { isLatest }) };
      } catch (error) {
        return isAbsence(error) ? {} : { failure: upstream.failure(at.mirror, error, false) };
      }
    });
  }

  /**
   * Returns the Authorization header for a request about a blob, so that all blobs share the tokens of this object. It
   * must reach nobody but the upstream.
   */
  async logIn(asker: MirrorAt, scope: string, refused?: RefusedLogin): Promise<LoginAnswer> {
    const { mirror } = await this.#use(asker);
    // A fetch that began before a change may ask the earlier upstream, which must not get the login for this one.
    if (mirror.changedAt !== asker.mirror.changedAt) return { failure: { kind: 'content', message: HAS_CHANGED } };
    return this.#upstream.logIn(mirror, scope, refused);
  }

  /** Forgets a tag, so that the next pull brings it again. */
  forgetTag(repository: RepositoryName, tag: Tag): void {
    this.#state.forgetReference(repository, tag);
  }

  /** Lists tags of the upstream, in its order. */
  async listTags(asker: MirrorAt, repository: RepositoryName, after: string, limit: number): Promise<TagsAnswer> {
    const at = await this.#use(asker);
    const about = `tags ${limit} ${after}`;
    return this.#once(at, repository, about, () => tagsAt(this.#upstream, at.mirror, repository, after, limit));
  }

  /** Lists a page of the first referrers that the upstream has for a manifest, in the order of their digests. */
  async listReferrers(
    asker: MirrorAt,
    repository: RepositoryName,
    subject: Digest,
    artifactType: string | undefined,
    page: PageRequest,
  ): Promise<ReferrersAnswer> {
    const at = await this.#use(asker);
    const answer = await this.#once(at, repository, `referrers ${subject}`, () =>
      referrersAt(this.#upstream, at.mirror, repository, subject),
    );
    return answer.referrers === undefined ? answer : pageOfReferrers(answer.referrers, artifactType, page);
  }

  /** Notes a push that is about to be committed. @returns its ids; undefined if too many wait */
  async notePush(
    asker: MirrorAt,
    repository: RepositoryName,
    manifest: ManifestDescriptor,
    tags: readonly Tag[],
  ): Promise<readonly number[] | undefined> {
    await this.#use(asker);
    const ids = this.#outgoing.note(repository, manifest, tags, Date.now());
    await this.#images.written();
    await this.#schedule();
    return ids;
  }

  /** Forwards a push that was committed. @param version of the commit */
  async confirmPush(ids: readonly number[], version: number): Promise<void> {
    for (const id of ids) this.#forwarder.confirm(id, version);
    await this.#schedule();
  }

  /** Forgets a push that was refused. */
  async withdrawPush(ids: readonly number[]): Promise<void> {
    for (const id of ids) this.#forwarder.withdraw(id);
    await this.#schedule();
  }

  /** Deletes a tag or a manifest at the upstream. */
  async deleteReference(asker: MirrorAt, repository: RepositoryName, reference: string): Promise<DeleteAnswer> {
    return this.#forwarder.delete(await this.#use(asker), repository, reference);
  }

  /** Tries parked pushes again, and those that wait after a failure. @returns how many */
  async retry(): Promise<number> {
    const tried = this.#outgoing.retry(Date.now());
    await this.#schedule();
    return tried;
  }

  /** Returns the state for operators. */
  status(): MirrorStatus {
    const parked = this.#outgoing.parked(MAX_PARKED).map((push) => {
      const { repository, tag, manifest, attempts, reason } = push;
      return { repository, tag, digest: manifest.digest, attempts, reason };
    });
    return { ...this.#state.counts(), ...this.#upstream.status(), pushes: this.#outgoing.counts(), parked };
  }

  override async alarm(): Promise<void> {
    let at: MirrorAt | undefined;
    try {
      at = await this.#current();
    } catch (error) {
      logFailure({ mirror: 'alarm', error: String(error) });
      return this.ctx.storage.setAlarm(Date.now() + AGAIN_MILLISECONDS);
    }
    // The organization is no mirror any more.
    if (at === undefined) {
      this.#state.clear();
      return this.#outgoing.clear();
    }
    const slice = new Slice(this.#meter);
    try {
      do {
        // The mirror may change during the run.
        at = await this.#use(at);
        const due = this.#state.nextDue(Date.now());
        if (due !== undefined) await this.#images.storeOrPutOff(at, due);
        const hasCarried = await this.#forwarder.carryNext(at, slice);
        if (due === undefined && !hasCarried) break;
      } while (!slice.isOver);
    } finally {
      await this.#schedule();
    }
  }

  /**
   * Takes note of who asks, and returns the mirror as of its latest change. The asking isolate may not have heard of
   * that change. After a change, earlier answers and questions under way no longer count.
   */
  async #use(asker: MirrorAt): Promise<MirrorAt> {
    const { changedAt } = asker.mirror;
    if (this.#used !== undefined && this.#used.mirror.changedAt >= changedAt) return this.#used;
    const { kv } = this.ctx.storage;
    const latest = kv.get<number>('changedAt') ?? changedAt;
    const at = latest > changedAt ? ((await this.#current()) ?? asker) : asker;
    if (latest < at.mirror.changedAt) {
      this.#state.clear();
      this.#upstream = this.#newUpstream();
      this.#outgoing.beginAgain(Date.now());
    }
    kv.put('changedAt', Math.max(latest, at.mirror.changedAt));
    kv.put('organization', at.mirror.organization);
    kv.put('namespace', at.namespace);
    this.#used = at;
    await this.#schedule();
    return at;
  }

  #newUpstream(): UpstreamClient {
    const client: UpstreamClient = new UpstreamClient(this.#config, (repository, manifest) => {
      if (this.#upstream === client) this.#state.keepManifest(repository, manifest, Date.now());
    });
    return client;
  }

  /** Returns the mirror by the store's rows; undefined if the organization is no mirror any more. */
  async #current(): Promise<MirrorAt | undefined> {
    const { kv } = this.ctx.storage;
    const [organization, namespace] = [kv.get<OrganizationName>('organization'), kv.get<Namespace>('namespace')];
    if (organization === undefined || namespace === undefined) return undefined;
    const mirrors = await composeMirrorList(this.env, namespace);
    const mirror = mirrors.find((each) => each.organization === organization);
    return mirror && { mirror, namespace };
  }

  /** @param isLatest whether nothing has outdated the question */
  async #askTag(
    at: MirrorAt,
    repository: RepositoryName,
    tag: Tag,
    known: KnownTag | undefined,
    isLatest: () => boolean,
  ): Promise<TagAnswer> {
    const upstream = this.#upstream;
    let descriptor: ManifestDescriptor | undefined;
    try {
      descriptor = await upstream.describe(at.mirror, repository, tag, { known: known?.descriptor, isLatest });
    } catch (error) {
      if (!isAbsence(error)) return { failure: upstream.failure(at.mirror, error, known?.descriptor !== undefined) };
    }
    if (upstream !== this.#upstream) return CHANGED;
    if (descriptor === undefined) {
      if (isLatest()) this.#missing(at, repository, tag, known);
      return {};
    }
    const checkedAt = Date.now();
    if (isLatest()) {
      this.#state.noteTag(repository, tag, descriptor, checkedAt);
      // Another tag may have brought the manifest, and then nobody asks for it here.
      if (known?.descriptor?.digest !== descriptor.digest) this.#state.addDue(repository, descriptor.digest, checkedAt);
      await this.#schedule();
    }
    return { tag: { descriptor, checkedAt, freshness: 'fresh' } };
  }

  /** Notes that the upstream has no such tag, and removes the one that is stored. */
  #missing(at: MirrorAt, repository: RepositoryName, tag: Tag, known: KnownTag | undefined): void {
    const now = Date.now();
    this.#state.noteMissing(repository, tag, now, now + MISSING_MILLISECONDS);
    const digest = known?.descriptor?.digest;
    if (digest !== undefined)
      this.ctx.waitUntil(this.#images.remove(at, repository, tag, [digest, known?.stored ?? digest]));
  }

  /** Asks a question once, however many clients ask it at the same time. */
  #once<Answer>(
    { mirror }: MirrorAt,
    repository: RepositoryName,
    about: string,
    ask: (isLatest: () => boolean) => Promise<Answer>,
  ): Promise<Answer> {
    const key = `${repository} ${about} ${mirror.changedAt}`;
    const asking = this.#asking.get(key) as Promise<Answer> | undefined;
    if (asking !== undefined) return asking;
    const isLatest = (): boolean => this.#asking.get(key) === asked;
    const asked = ask(isLatest).finally(() => isLatest() && this.#asking.delete(key));
    this.#asking.set(key, asked);
    return asked;
  }

  /**
   * Outdates the questions under way that may concern a changed tag or manifest of the upstream. Those about other
   * manifests still count.
   */
  #outdate(repository: RepositoryName, reference: string): void {
    for (const key of this.#asking.keys()) {
      const [asked, kind, subject] = key.split(' ');
      const isOther = (kind === 'manifest' || kind === 'description') && subject !== reference;
      if (asked === repository && !isOther) this.#asking.delete(key);
    }
  }

  async #beneath(namespace: Namespace): Promise<Registry> {
    this.#registry ??= await registryBeneath(this.ctx, this.env, this.#config, namespace, this.#meter);
    return this.#registry;
  }

  async #schedule(): Promise<void> {
    const next = Math.min(this.#state.nextDueAt() ?? Infinity, this.#forwarder.nextDueAt() ?? Infinity);
    if (next === Infinity) return;
    const at = Math.max(Date.now(), next);
    const set = await this.ctx.storage.getAlarm();
    if (set === null || set > at) await this.ctx.storage.setAlarm(at);
  }
}

/** Replaces an answer that came after a change of the mirror. */
const HAS_CHANGED = 'the mirror has changed';
const CHANGED: TagAnswer = { failure: { reason: HAS_CHANGED, retryAfter: 1000, hasAnswered: true } };

/** Keeps a byte-order mark, because the digest covers it. */
const TEXT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function mirrored(known: KnownTag | undefined, freshness: MirroredTag['freshness']): MirroredTag | undefined {
  if (known?.descriptor === undefined) return undefined;
  return { descriptor: known.descriptor, checkedAt: known.checkedAt, freshness };
}
