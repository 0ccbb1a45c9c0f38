/**
 * The Durable Object of a mirror at one store. It alone asks the upstream for tags and manifests, so that one question
 * is under way however many clients ask, and it has what was pulled stored: a manifest once all its blobs are.
 *
 * Its alarm stores images. It is not a replication queue, so no announcement waits for it.
 */
import { DurableObject } from 'cloudflare:workers';
import { type Config, parseConfig } from '../config.ts';
import { MINUTE } from '../durations.ts';
import { logFailure } from '../log.ts';
import type { Namespace } from '../namespaces/namespace.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { isTag, type OrganizationName, type RepositoryName, type Tag } from '../oci/reference.ts';
import { composeMirrorList } from '../registry/compose.ts';
import { mayBeStale, verdictOn } from '../registry/mirrored/freshness.ts';
import type { MirroredTag } from '../registry/mirrored/upstreams.ts';
import type { Registry } from '../registry/registry.ts';
import { within } from '../stores/deadline.ts';
import { SMALL_DOCUMENT_BYTES } from '../stores/manifests/manifest-rows.ts';
import { StatementMeter } from '../stores/statement-meter.ts';
import type { ManifestAnswer, MirrorAt, MirrorStatus, ReferrersAnswer, TagAnswer, TagsAnswer } from './answers.ts';
import { registryBeneath } from './beneath.ts';
import { byMirror, ImageStore } from './image-store.ts';
import { type KnownTag, MirrorState } from './mirror-state.ts';
import { isAbsence } from './reach-upstream.ts';
import { UpstreamClient } from './upstream-client.ts';

/** How long a client waits for the upstream while an older answer could be served. */
const PATIENCE_MILLISECONDS = 3000;
/** How long a client waits for the upstream otherwise. */
const ANSWER_MILLISECONDS = 30_000;
/** The time for which it is remembered that the upstream has no such tag. */
const MISSING_MILLISECONDS = MINUTE;

/** The time in which an alarm begins to store images. Cloudflare allows 15 minutes. */
const ALARM_MILLISECONDS = 2 * MINUTE;
/** The statements of D1 after which an alarm begins nothing new. D1 may end an invocation after 1,000. */
const STATEMENTS = 600;
/** The most referrers that are listed. */
const MAX_REFERRERS = 1000;
export class OrganizationMirror extends DurableObject<Env> {
  readonly #config: Config;
  readonly #state: MirrorState;
  /** Counts the statements of all that runs in this object. */
  readonly #meter = new StatementMeter();
  /** Questions under way, by what they are about. */
  readonly #asking = new Map<string, Promise<unknown>>();
  readonly #upstream: UpstreamClient;
  readonly #images: ImageStore;
  #registry: Registry | undefined;
  #used: MirrorAt | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#config = parseConfig(env);
    this.#state = new MirrorState(ctx.storage.sql);
    this.#upstream = new UpstreamClient(this.#config, this.#state);
    this.#images = new ImageStore(env, this.#state, ({ namespace }) => this.#beneath(namespace));
  }

  /** Resolves a tag, and asks the upstream for it first if its mirror says so. */
  async tag(at: MirrorAt, repository: RepositoryName, tag: Tag): Promise<TagAnswer> {
    this.#use(at);
    const known = this.#state.tag(repository, tag);
    if (known !== undefined && Date.now() < known.missingUntil) return {};
    const found = known?.missingUntil === 0 ? known : undefined;
    const verdict = verdictOn(found?.checkedAt, at.mirror, Date.now());
    if (verdict === 'serve') return { tag: mirrored(found, 'fresh') };
    const asked = this.#once(`${repository}:${tag}`, () => this.#askTag(at, repository, tag, known));
    if (verdict === 'serve, then ask') {
      this.ctx.waitUntil(asked);
      return { tag: mirrored(found, this.#upstream.isPaused ? 'failing' : 'stale') };
    }
    const isKnown = found !== undefined && mayBeStale(found.checkedAt, at.mirror, Date.now());
    const answer = await within(isKnown ? PATIENCE_MILLISECONDS : ANSWER_MILLISECONDS, asked).catch(
      (error: unknown): TagAnswer => ({ failure: this.#upstream.failure(at.mirror, error, found !== undefined) }),
    );
    return isKnown && answer.failure !== undefined ? { tag: mirrored(found, 'failing') } : answer;
  }

  /**
   * Returns a manifest by its digest, and has its image stored.
   * @param wantsText whether there is room for the document
   */
  async manifest(
    at: MirrorAt,
    repository: RepositoryName,
    digest: Digest,
    wantsText: boolean,
  ): Promise<ManifestAnswer> {
    this.#use(at);
    if (this.#state.descriptor(repository, digest) === undefined) {
      const failure = await this.#once(`${repository}@${digest}`, () =>
        this.#upstream.fetch(at.mirror, repository, digest),
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
  async describe(at: MirrorAt, repository: RepositoryName, digest: Digest): Promise<ManifestAnswer> {
    this.#use(at);
    const kept = this.#state.descriptor(repository, digest);
    if (kept !== undefined) return { descriptor: kept };
    try {
      return { descriptor: await this.#upstream.describe(at.mirror, repository, digest) };
    } catch (error) {
      return isAbsence(error) ? {} : { failure: this.#upstream.failure(at.mirror, error, false) };
    }
  }

  /** Forgets a tag, so that the next pull brings it again. */
  forgetTag(repository: RepositoryName, tag: Tag): void {
    this.#state.forgetTag(repository, tag);
  }

  /** Lists tags of the upstream, in its order. */
  async listTags(at: MirrorAt, repository: RepositoryName, after: string, limit: number): Promise<TagsAnswer> {
    this.#use(at);
    try {
      const upstream = this.#upstream.repository(at.mirror, repository);
      const query = new URLSearchParams({ n: String(limit), ...(after === '' ? {} : { last: after }) });
      const page = await upstream.tagsPage(`/v2/${upstream.name}/tags/list?${query.toString()}`);
      const tags = page?.names.filter(isTag).slice(0, limit);
      return { tags, last: page?.next === undefined ? undefined : tags?.at(-1) };
    } catch (error) {
      return isAbsence(error) ? {} : { failure: this.#upstream.failure(at.mirror, error, false) };
    }
  }

  /** Lists the first referrers of a manifest that the upstream has. */
  async listReferrers(at: MirrorAt, repository: RepositoryName, subject: Digest): Promise<ReferrersAnswer> {
    this.#use(at);
    try {
      const found = await this.#upstream.repository(at.mirror, repository).referrers(subject);
      return { referrers: found.slice(0, MAX_REFERRERS) };
    } catch (error) {
      return isAbsence(error) ? {} : { failure: this.#upstream.failure(at.mirror, error, false) };
    }
  }

  /** Returns what an operator may want to know. */
  status(): MirrorStatus {
    return { ...this.#state.counts(), ...this.#upstream.status() };
  }

  override async alarm(): Promise<void> {
    const [end, most] = [Date.now() + ALARM_MILLISECONDS, this.#meter.counted + STATEMENTS];
    try {
      const at = await this.#current();
      if (at === undefined) return this.#state.clear();
      for (let due = this.#state.nextDue(Date.now()); due !== undefined; due = this.#state.nextDue(Date.now())) {
        await this.#images.storeOrPutOff(at, due);
        if (Date.now() >= end || this.#meter.counted >= most) break;
      }
    } finally {
      await this.#schedule();
    }
  }

  /** Takes note of who asks. After a change of the mirror, nothing that was learned before counts. */
  #use(at: MirrorAt): void {
    const { mirror, namespace } = at;
    if (this.#used?.mirror.changedAt === mirror.changedAt) return;
    const { kv } = this.ctx.storage;
    const changedAt = kv.get<number>('changedAt');
    // An isolate may not have heard of the latest change.
    if (changedAt !== undefined && changedAt > mirror.changedAt) return;
    if (changedAt !== undefined && changedAt < mirror.changedAt) this.#state.clear();
    kv.put('changedAt', mirror.changedAt);
    kv.put('organization', mirror.organization);
    kv.put('namespace', namespace);
    this.#used = at;
  }

  /** Returns the mirror as the store knows it now; undefined if it is none any more. */
  async #current(): Promise<MirrorAt | undefined> {
    const { kv } = this.ctx.storage;
    const [organization, namespace] = [kv.get<OrganizationName>('organization'), kv.get<Namespace>('namespace')];
    if (organization === undefined || namespace === undefined) return undefined;
    const mirrors = await composeMirrorList(this.env, namespace);
    const mirror = mirrors.find((each) => each.organization === organization);
    return mirror && { mirror, namespace };
  }

  async #askTag(at: MirrorAt, repository: RepositoryName, tag: Tag, known: KnownTag | undefined): Promise<TagAnswer> {
    try {
      const descriptor = await this.#upstream.describe(at.mirror, repository, tag, known?.descriptor);
      const checkedAt = Date.now();
      if (descriptor === undefined) {
        this.#missing(at, repository, tag, known);
        return {};
      }
      this.#state.noteTag(repository, tag, descriptor, checkedAt);
      // Another tag may have brought the manifest, and then nobody asks for it here.
      if (known?.descriptor?.digest !== descriptor.digest) {
        this.#state.addDue(repository, descriptor.digest, checkedAt);
        await this.#schedule();
      }
      return { tag: { descriptor, checkedAt, freshness: 'fresh' } };
    } catch (error) {
      if (!isAbsence(error))
        return { failure: this.#upstream.failure(at.mirror, error, known?.descriptor !== undefined) };
      this.#missing(at, repository, tag, known);
      return {};
    }
  }

  /** Takes note that the upstream has no such tag, and removes what it has stored for it. */
  #missing(at: MirrorAt, repository: RepositoryName, tag: Tag, known: KnownTag | undefined): void {
    const now = Date.now();
    this.#state.noteMissing(repository, tag, now, now + MISSING_MILLISECONDS);
    const digest = known?.descriptor?.digest;
    if (digest === undefined) return;
    const remove = async (): Promise<void> => {
      const registry = await this.#beneath(at.namespace);
      const unlessMoved = { ifMatch: [`"${digest}"`], ifNoneMatch: undefined };
      try {
        await registry.deleteTag(repository, tag, byMirror(at.mirror), unlessMoved);
      } catch (error) {
        const isGone = error instanceof OciError && GONE.has(error.kind);
        if (!isGone) return logFailure({ mirror: repository, tag, failed: 'remove', error: String(error) });
      }
      this.#state.forgetDescriptor(repository, tag);
    };
    this.ctx.waitUntil(remove());
  }

  /** Asks a question once, however many ask it at the same time. */
  #once<Answer>(key: string, ask: () => Promise<Answer>): Promise<Answer> {
    const asking = this.#asking.get(key) as Promise<Answer> | undefined;
    if (asking !== undefined) return asking;
    const asked = ask().finally(() => this.#asking.delete(key));
    this.#asking.set(key, asked);
    return asked;
  }

  async #beneath(namespace: Namespace): Promise<Registry> {
    this.#registry ??= await registryBeneath(this.ctx, this.env, this.#config, namespace, this.#meter);
    return this.#registry;
  }

  async #schedule(): Promise<void> {
    const next = this.#state.nextDueAt();
    if (next === undefined) return;
    const at = Math.max(Date.now(), next);
    const set = await this.ctx.storage.getAlarm();
    if (set === null || set > at) await this.ctx.storage.setAlarm(at);
  }
}

/** Keeps a byte-order mark, without which the document would have another digest. */
const TEXT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A stored tag that is gone, or means something else now. */
const GONE: ReadonlySet<string> = new Set(['MANIFEST_UNKNOWN', 'NAME_UNKNOWN', 'PRECONDITION_FAILED']);

function mirrored(known: KnownTag | undefined, freshness: MirroredTag['freshness']): MirroredTag | undefined {
  if (known?.descriptor === undefined) return undefined;
  return { descriptor: known.descriptor, checkedAt: known.checkedAt, freshness };
}

/** Returns the Durable Object of a mirror at a store, which is placed near it. */
export function mirrorOf(
  env: object,
  organization: OrganizationName,
  namespace: Namespace,
): DurableObjectStub<OrganizationMirror> {
  const { ORGANIZATION_MIRROR: all } = env as { ORGANIZATION_MIRROR: DurableObjectNamespace<OrganizationMirror> };
  const id = all.idFromName(`${namespace.store}/${organization}`);
  const region = namespace.kind === 'node' ? (namespace.region as DurableObjectLocationHint) : undefined;
  return all.get(id, region === undefined ? {} : { locationHint: region });
}
