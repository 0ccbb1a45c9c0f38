/** The arguments and answers of a mirror's Durable Object. */
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

/** A blob of a mirror's repository, and the registry that stores it. */
export interface BlobWanted extends MirrorAt {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  /** Bytes, if a manifest states it. */
  readonly size?: number | undefined;
}

export interface Failure {
  /** Why the upstream could not be asked, for anybody who may pull. */
  readonly reason: string;
  /** When to ask again, in milliseconds from now. */
  readonly retryAfter: number;
  /** Whether the upstream has answered this question at this store before. */
  readonly hasAnswered: boolean;
}

/** Without a tag or a failure, the upstream has no such tag. */
export interface TagAnswer {
  readonly tag?: MirroredTag | undefined;
  readonly failure?: Failure;
}

/** Without a descriptor or a failure, the upstream has no such manifest. */
export interface ManifestAnswer {
  readonly descriptor?: ManifestDescriptor | undefined;
  /** Undefined for a large document until its reader has made room for it. */
  readonly text?: string | undefined;
  readonly failure?: Failure;
}

/** Without tags or a failure, the upstream has no such repository. */
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

/** Without a refusal or a failure, the deletion has succeeded. */
export interface DeleteAnswer {
  /** Whether the upstream had it. */
  readonly wasThere?: boolean;
  /** Why the upstream does not delete it. */
  readonly refusal?: { readonly isUnsupported: boolean; readonly reason: string };
  readonly failure?: Failure;
}

/** A push that is not tried any more. */
export interface ParkedPush {
  readonly repository: RepositoryName;
  readonly tag: Tag | undefined;
  readonly digest: Digest;
  readonly attempts: number;
  readonly reason: string;
}

/** A mirror at one store. Times are in milliseconds since the epoch. */
export interface MirrorStatus {
  /** The number of tags that the mirror knows. */
  readonly tags: number;
  /** The number of images that wait to be stored. */
  readonly waiting: number;
  /** Why the upstream is not asked now; undefined if it is. */
  readonly failure: string | undefined;
  readonly askedAgainAt: number | undefined;
  /** Undefined if the upstream has not stated a limit lately. */
  readonly rateLimit: RateLimit | undefined;
  /** Forwarded pushes by state. `settled` counts all of them since the organization became a mirror. */
  readonly pushes: OutgoingCounts;
  /** The first parked pushes. */
  readonly parked: readonly ParkedPush[];
}
