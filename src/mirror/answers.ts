/** What the Durable Object of a mirror is asked with, and answers. */
import type { Namespace } from '../namespaces/namespace.ts';
import type { Descriptor } from '../oci-client/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import type { MirroredTag } from '../registry/mirrored/upstreams.ts';
import type { ManifestDescriptor } from '../registry/registry.ts';
import type { Mirror } from '../stores/organizations/mirrors.ts';
import type { OutgoingCounts } from './outgoing-state.ts';
import type { RateLimit } from './rate-limit.ts';

/** A mirror, and the registry that asks for it. */
export interface MirrorAt {
  readonly mirror: Mirror;
  readonly namespace: Namespace;
}

export interface Failure {
  /** Why the upstream could not be asked, for anybody who may pull. */
  readonly reason: string;
  /** When to ask again, in milliseconds from now. */
  readonly retryAfter: number;
  /** Whether the upstream has ever answered here for what was asked. */
  readonly hasAnswered: boolean;
}

/** Without a tag and a failure, the upstream has no such tag. */
export interface TagAnswer {
  readonly tag?: MirroredTag | undefined;
  readonly failure?: Failure;
}

/** Without a descriptor and a failure, the upstream has no such manifest. */
export interface ManifestAnswer {
  readonly descriptor?: ManifestDescriptor | undefined;
  /** Left out of a document that is not small, until its reader has made room for it. */
  readonly text?: string | undefined;
  readonly failure?: Failure;
}

/** Without tags and a failure, the upstream has no such repository. */
export interface TagsAnswer {
  readonly tags?: readonly Tag[] | undefined;
  /** The last tag, if more may follow. */
  readonly last?: Tag | undefined;
  readonly failure?: Failure;
}

export interface ReferrersAnswer {
  readonly referrers?: readonly Descriptor[];
  /** The last digest, if more follow. */
  readonly last?: string | undefined;
  readonly failure?: Failure;
}

/** Without a refusal and a failure, it is deleted. */
export interface DeleteAnswer {
  /** Whether the upstream had it. */
  readonly wasThere?: boolean;
  /** Why the upstream does not delete it. */
  readonly refusal?: { readonly isUnsupported: boolean; readonly reason: string };
  readonly failure?: Failure;
}

/** A push that was given up after its attempts. */
export interface ParkedPush {
  readonly repository: RepositoryName;
  readonly tag: Tag | undefined;
  readonly digest: Digest;
  readonly attempts: number;
  readonly reason: string;
}

/** A mirror at one store. Times are in milliseconds since the epoch. */
export interface MirrorStatus {
  /** The tags that the upstream was asked for. */
  readonly tags: number;
  /** The images that are to be stored. */
  readonly waiting: number;
  /** Why the upstream is not asked now; undefined if it is. */
  readonly failure: string | undefined;
  readonly askedAgainAt: number | undefined;
  /** Undefined if the upstream says nothing of a limit, or has not been asked lately. */
  readonly rateLimit: RateLimit | undefined;
  /** Pushes that are forwarded, by how far they are. `settled` counts all since the organization is a mirror. */
  readonly pushes: OutgoingCounts;
  /** The first parked pushes. */
  readonly parked: readonly ParkedPush[];
}
