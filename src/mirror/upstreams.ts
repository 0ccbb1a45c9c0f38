/** Lets a request reach the mirrors of its namespace. Each isolate keeps a cache of them. */
import { BoundedCache } from '../bounded-cache.ts';
import { logFailure } from '../log.ts';
import type { Namespace, StoreName } from '../namespaces/namespace.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import type { MediaType } from '../oci/media-type.ts';
import { type OrganizationName, organizationOf, type RepositoryName, type Tag } from '../oci/reference.ts';
import { composeMirrorList } from '../registry/compose.ts';
import { verdictOn } from '../registry/mirrored/freshness.ts';
import type { MirroredTag, NeverAnswered, NotedPush, OpenedBlob, Upstreams } from '../registry/mirrored/upstreams.ts';
import type {
  ByteRange,
  MakeRoom,
  ManifestDescriptor,
  Page,
  PageRequest,
  Referrer,
  StoredManifest,
} from '../registry/registry.ts';
import { within } from '../stores/deadline.ts';
import type { Mirror } from '../stores/organizations/mirrors.ts';
import type { Failure, MirrorAt, MirrorStatus } from './answers.ts';
import type { OrganizationMirror } from './durable-object.ts';
import { blobObjectOf, mirrorObjectOf, sharedByEnvironments } from './mirror-object.ts';

/** The time after which an isolate reads the list of mirrors again. */
const LIST_MILLISECONDS = 5000;
/** The age at which a list is too old for a request, as after an idle time. */
const OLDEST_LIST_MILLISECONDS = 60_000;
/** The longest that a request waits for the mirror's Durable Object, which waits for the upstream. */
const ANSWER_MILLISECONDS = 60_000;
/** Bytes of the tags that an isolate remembers. */
const REMEMBERED_BYTES = 2 * 1024 ** 2;

interface List {
  readonly mirrors: ReadonlyMap<string, Mirror>;
  /** When it was read, in milliseconds since the epoch. */
  readonly readAt: number;
  /** When a request last began to read it again. */
  askedAt: number;
}

/** By the binding that environments share, and then by store. */
const lists = new WeakMap<object, Map<StoreName, List>>();
/** By store, repository, tag, and the mirror's last change. */
const remembered = new BoundedCache<MirroredTag>(REMEMBERED_BYTES);

export function composeUpstreams(
  env: object,
  namespace: Namespace,
  defer: (work: Promise<unknown>) => void,
): Upstreams {
  return new UpstreamsOfNamespace(env, namespace, defer);
}

/** Makes this isolate read the list of mirrors again, because one has changed. */
export function forgetMirrorLists(env: object): void {
  lists.delete(sharedByEnvironments(env));
}

/**
 * Tries parked and failed pushes again, at a namespace's store.
 * @returns their number
 * @throws OciError UNAVAILABLE
 */
export function retryPushes(env: object, organization: OrganizationName, namespace: Namespace): Promise<number> {
  return unlessAway(Promise.resolve(mirrorObjectOf(env, organization, namespace).retry()));
}

/** Returns the state of a mirror at a namespace's store. @throws OciError UNAVAILABLE */
export function statusOf(env: object, organization: OrganizationName, namespace: Namespace): Promise<MirrorStatus> {
  return unlessAway(Promise.resolve(mirrorObjectOf(env, organization, namespace).status()));
}

class UpstreamsOfNamespace implements Upstreams {
  readonly #env: object;
  readonly #shared: object;
  readonly #namespace: Namespace;
  readonly #defer: (work: Promise<unknown>) => void;

  constructor(env: object, namespace: Namespace, defer: (work: Promise<unknown>) => void) {
    this.#env = env;
    this.#shared = sharedByEnvironments(env);
    this.#namespace = namespace;
    this.#defer = defer;
  }

  of(repository: RepositoryName): Mirror | undefined | Promise<Mirror | undefined> {
    const organization = organizationOf(repository);
    const list = lists.get(this.#shared)?.get(this.#namespace.store);
    const age = Date.now() - (list?.readAt ?? 0);
    if (list === undefined || age >= OLDEST_LIST_MILLISECONDS) {
      return this.#readList().then((read) => read.get(organization));
    }
    if (age >= LIST_MILLISECONDS && Date.now() - list.askedAt >= LIST_MILLISECONDS) {
      // Only one request reads it again.
      list.askedAt = Date.now();
      this.#defer(this.#readList().catch((error: unknown) => logFailure({ mirrors: String(error) })));
    }
    return list.mirrors.get(organization);
  }

  /** @throws OciError UNAVAILABLE */
  async #readList(): Promise<ReadonlyMap<string, Mirror>> {
    const begun = lists.get(this.#shared) ?? new Map<StoreName, List>();
    lists.set(this.#shared, begun);
    const readAt = Date.now();
    const found = await composeMirrorList(this.#env, this.#namespace);
    const mirrors = new Map(found.map((each) => [each.organization as string, each]));
    // A list that was read before a change must not replace the one after it.
    if (lists.get(this.#shared) === begun) begun.set(this.#namespace.store, { mirrors, readAt, askedAt: readAt });
    return mirrors;
  }

  async tag(mirror: Mirror, repository: RepositoryName, tag: Tag): Promise<MirroredTag | NeverAnswered | undefined> {
    const key = this.#keyOf(mirror, repository, tag);
    const known = remembered.get(key);
    // Another isolate may have taken a push of the tag.
    const verdict = mirror.pushes === 'forwarded' ? 'ask first' : verdictOn(known?.checkedAt, mirror, Date.now());
    if (known !== undefined && verdict === 'serve') return known;
    const asked = this.#askTag(mirror, repository, tag, key);
    if (known === undefined || verdict === 'ask first') return asked;
    this.#defer(asked.catch(() => undefined));
    return { ...known, freshness: known.freshness === 'failing' ? 'failing' : 'stale' };
  }

  forgetTag(mirror: Mirror, repository: RepositoryName, tag: Tag): void {
    remembered.delete(this.#keyOf(mirror, repository, tag));
    this.#defer(this.#ask(mirror, (object) => object.forgetTag(repository, tag)).catch(() => undefined));
  }

  #keyOf({ changedAt }: Mirror, repository: RepositoryName, tag: Tag): string {
    return `${this.#namespace.store} ${repository}:${tag} ${changedAt}`;
  }

  async #askTag(
    mirror: Mirror,
    repository: RepositoryName,
    tag: Tag,
    key: string,
  ): Promise<MirroredTag | NeverAnswered | undefined> {
    const { tag: found, failure } = await this.#ask(mirror, (object, at) => object.tag(at, repository, tag));
    if (failure !== undefined) {
      const refusal = unavailable(mirror, failure);
      if (failure.hasAnswered) throw refusal;
      return { refusal };
    }
    if (found === undefined) remembered.delete(key);
    else remembered.set(key, found);
    return found;
  }

  async manifest(
    mirror: Mirror,
    repository: RepositoryName,
    digest: Digest,
    makeRoom: MakeRoom | undefined,
  ): Promise<StoredManifest | undefined> {
    const ask = (hasRoom: boolean) =>
      this.#ask(mirror, (object, at) => object.manifest(at, repository, digest, hasRoom));
    let answer = await ask(false);
    if (answer.descriptor !== undefined && answer.text === undefined) {
      await makeRoom?.(answer.descriptor.size);
      answer = await ask(true);
    }
    const { descriptor, text, failure } = answer;
    if (failure !== undefined) throw unavailable(mirror, failure);
    return descriptor && text !== undefined ? { ...descriptor, text } : undefined;
  }

  async describe(mirror: Mirror, repository: RepositoryName, digest: Digest): Promise<ManifestDescriptor | undefined> {
    const { descriptor, failure } = await this.#ask(mirror, (object, at) => object.describe(at, repository, digest));
    if (failure !== undefined) throw unavailable(mirror, failure);
    return descriptor;
  }

  async listTags(mirror: Mirror, repository: RepositoryName, page: PageRequest): Promise<Page<Tag> | undefined> {
    const { limit, after } = page;
    const { tags, last, failure } = await this.#ask(mirror, (object, at) =>
      object.listTags(at, repository, after, limit),
    );
    if (failure !== undefined) throw unavailable(mirror, failure);
    return tags && { items: tags, last };
  }

  async listReferrers(
    mirror: Mirror,
    repository: RepositoryName,
    subject: Digest,
    artifactType: string | undefined,
    page: PageRequest,
  ): Promise<Page<Referrer>> {
    const { referrers, last, failure } = await this.#ask(mirror, (object, at) =>
      object.listReferrers(at, repository, subject, artifactType, page),
    );
    if (failure !== undefined) throw unavailable(mirror, failure);
    const items = (referrers ?? []).map(({ digest, mediaType, size, artifactType: type = '', annotations }) => ({
      digest,
      mediaType: mediaType as MediaType,
      size,
      artifactType: type,
      annotations,
    }));
    return { items, last };
  }

  async blobSize(mirror: Mirror, repository: RepositoryName, digest: Digest): Promise<number | undefined> {
    const wanted = { mirror, namespace: this.#namespace, repository, digest };
    return unlessAway(blobObjectOf(this.#env, wanted).size(wanted));
  }

  async openBlob(
    mirror: Mirror,
    repository: RepositoryName,
    digest: Digest,
    range?: ByteRange,
  ): Promise<OpenedBlob | undefined> {
    const wanted = { mirror, namespace: this.#namespace, repository, digest };
    const part = range && { start: range.offset, end: range.offset + range.length };
    return unlessAway(blobObjectOf(this.#env, wanted).open(wanted, part), dropContent);
  }

  async notePush(
    mirror: Mirror,
    repository: RepositoryName,
    manifest: ManifestDescriptor,
    tags: readonly Tag[],
  ): Promise<NotedPush> {
    const ids = await this.#ask(mirror, (object, at) => object.notePush(at, repository, manifest, tags));
    if (ids === undefined)
      throw new OciError('UNAVAILABLE', {
        message: `too many pushes wait for ${mirror.from}: push again once it takes them`,
        headers: { 'Retry-After': '60' },
      });
    // A failure here only costs time, because the object itself finds out whether the push was committed.
    const later = async (told: (object: DurableObjectStub<OrganizationMirror>) => Promise<unknown>): Promise<void> => {
      try {
        await this.#ask(mirror, told);
      } catch (error) {
        logFailure({ mirror: mirror.organization, push: repository, error: String(error) });
      }
    };
    return {
      committed: (version) => later((object) => object.confirmPush(ids, version)),
      refused: () => this.#defer(later((object) => object.withdrawPush(ids))),
    };
  }

  async deleteReference(mirror: Mirror, repository: RepositoryName, reference: Tag | Digest): Promise<boolean> {
    const { wasThere, refusal, failure } = await this.#ask(mirror, (object, at) =>
      object.deleteReference(at, repository, reference),
    );
    if (failure !== undefined) throw unavailable(mirror, failure);
    if (refusal === undefined) return wasThere === true;
    const { isUnsupported, reason } = refusal;
    const advice = isUnsupported
      ? 'delete it there by its own means, then repeat this; or set pushes to kept to delete it from Berth alone'
      : 'let the login of the mirror delete there, and try again';
    throw new OciError(isUnsupported ? 'METHOD_UNSUPPORTED' : 'DENIED', {
      message: `${mirror.from} does not delete this, so nothing was deleted: ${advice} (${reason})`,
    });
  }

  async #ask<Answer>(
    mirror: Mirror,
    question: (object: DurableObjectStub<OrganizationMirror>, at: MirrorAt) => Promise<Answer>,
  ): Promise<Answer> {
    const at = { mirror, namespace: this.#namespace };
    return unlessAway(question(mirrorObjectOf(this.#env, mirror.organization, this.#namespace), at));
  }
}

/**
 * @param dropLate disposes of an answer that arrives later
 * @throws OciError UNAVAILABLE if a Durable Object fails, or does not answer in time
 */
async function unlessAway<Answer>(answer: Promise<Answer>, dropLate?: (late: Answer) => unknown): Promise<Answer> {
  try {
    return await within(ANSWER_MILLISECONDS, answer, dropLate);
  } catch (cause) {
    throw new OciError('UNAVAILABLE', { cause, headers: { 'Retry-After': '2' } });
  }
}

function dropContent(late: OpenedBlob | undefined): unknown {
  return late?.content.cancel().catch(() => undefined);
}

function unavailable({ from }: Mirror, { reason, retryAfter }: Failure): OciError {
  return new OciError('UNAVAILABLE', {
    message: `the upstream of this mirror, ${from}, fails at the moment: ${reason}`,
    headers: { 'Retry-After': String(Math.ceil(retryAfter / 1000)) },
  });
}
