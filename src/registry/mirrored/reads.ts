/** Reads of manifests and blobs: from the registry beneath, or else from the upstream of their mirror. */
import type { Digest } from '../../oci/digest.ts';
import { isUnavailable } from '../../oci/errors.ts';
import type { Reference } from '../../oci/reference.ts';
import type { Mirror } from '../../stores/organizations/mirrors.ts';
import { NotPublic, type ReadAccess } from '../access.ts';
import { blobUnknown, isUnknown, manifestUnknown } from '../answers.ts';
import type {
  BlobDescriptor,
  MakeRoom,
  ManifestDescriptor,
  Registry,
  StoredBlob,
  StoredManifest,
} from '../registry.ts';
import { type Layer, mirrorIfKnown, requireAllowed } from './layer.ts';
import { covers } from './coverage.ts';

export class MirroredReads implements Pick<Registry, 'getManifest' | 'resolveManifest' | 'getBlob' | 'resolveBlob'> {
  readonly #layer: Layer;

  constructor(layer: Layer) {
    this.#layer = layer;
  }

  getManifest(access: ReadAccess, reference: Reference, makeRoom?: MakeRoom): Promise<StoredManifest> {
    return this.#resolve(access, reference, {
      beneath: (allowed, wanted) => this.#layer.beneath.getManifest(allowed, wanted, makeRoom),
      upstream: (mirror, { digest }) => this.#layer.upstreams.manifest(mirror, access.repository, digest, makeRoom),
    });
  }

  resolveManifest(access: ReadAccess, reference: Reference, mayPush: boolean): Promise<ManifestDescriptor> {
    return this.#resolve<ManifestDescriptor>(access, reference, {
      beneath: (allowed, wanted) => this.#layer.beneath.resolveManifest(allowed, wanted, mayPush),
      upstream: async (mirror, { digest, descriptor }) =>
        descriptor ?? this.#layer.upstreams.describe(mirror, access.repository, digest),
    });
  }

  /** Resolves a reference, and reads its manifest beneath or, if it is unknown there, at the upstream. */
  async #resolve<Found extends ManifestDescriptor>(
    access: ReadAccess,
    reference: Reference,
    read: Reads<Found>,
  ): Promise<Found> {
    const { repository } = access;
    const known = this.#layer.upstreams.of(repository);
    if (known === undefined) return read.beneath(access, reference);
    // An isolate's first request reads beneath while the list of mirrors is being read.
    const first = known instanceof Promise ? outcomeOf(read.beneath(access, reference)) : undefined;
    const mirror = await mirrorIfKnown(this.#layer, repository, known);
    if (mirror === undefined) return first === undefined ? read.beneath(access, reference) : (await first)();
    const allowed = await requireAllowed(this.#layer, mirror, access);
    if (!covers(mirror, repository)) return read.beneath(allowed, reference);
    if (reference.kind === 'tag') return this.#resolveTag(mirror, allowed, reference, read);
    const { digest } = reference;
    const found =
      (await ifHere(read.beneath(allowed, reference))) ??
      (await read.upstream(mirror, { digest, descriptor: undefined }));
    if (found === undefined) throw manifestUnknown(repository, reference, true);
    return found;
  }

  async #resolveTag<Found extends ManifestDescriptor>(
    mirror: Mirror,
    access: ReadAccess,
    reference: Reference & { readonly kind: 'tag' },
    read: Reads<Found>,
  ): Promise<Found> {
    const { repository } = access;
    const tag = await this.#layer.upstreams.tag(mirror, repository, reference.tag);
    if (tag !== undefined && 'refusal' in tag) {
      // Another store may have pulled it.
      const stored = await ifHere(read.beneath(access, reference));
      if (stored === undefined) throw tag.refusal;
      return { ...stored, mirrored: { freshness: 'failing', ageSeconds: undefined } };
    }
    if (tag === undefined) {
      // A client may have pushed it.
      if (mirror.pushes === 'kept') return read.beneath(access, reference);
      throw manifestUnknown(repository, reference, true);
    }
    const { descriptor, checkedAt, freshness } = tag;
    const { digest } = descriptor;
    const found =
      (await ifHere(read.beneath(access, { kind: 'digest', digest }))) ??
      (await read.upstream(mirror, { digest, descriptor }));
    if (found === undefined) throw manifestUnknown(repository, reference, true);
    const ageSeconds = Math.max(0, Math.floor((this.#layer.now() - checkedAt) / 1000));
    return { ...found, mirrored: { freshness, ageSeconds } };
  }

  async getBlob(access: ReadAccess, digest: Digest, opensWhole = false): Promise<StoredBlob> {
    const { repository } = access;
    const [stored, mirror] = await this.#blobBeneath(access, (allowed) =>
      this.#layer.beneath.getBlob(allowed, digest, opensWhole),
    );
    if (stored !== undefined) return stored;
    const opened = opensWhole ? await this.#layer.upstreams.openBlob(mirror, repository, digest) : undefined;
    const size = opensWhole ? opened?.size : await this.#layer.upstreams.blobSize(mirror, repository, digest);
    if (size === undefined) throw blobUnknown(repository, digest);
    return {
      digest,
      size,
      open: async (range) => {
        const { content } = opened ?? (await this.#layer.upstreams.openBlob(mirror, repository, digest, range)) ?? {};
        if (content === undefined) throw blobUnknown(repository, digest);
        return content;
      },
    };
  }

  async resolveBlob(access: ReadAccess, digest: Digest, mayPush: boolean): Promise<BlobDescriptor> {
    const { repository } = access;
    const [stored, mirror] = await this.#blobBeneath(access, (allowed) =>
      this.#layer.beneath.resolveBlob(allowed, digest, mayPush),
    );
    if (stored !== undefined) return stored;
    // A client that pushes must upload a blob that only the upstream has.
    if (mayPush && mirror.pushes !== 'refused') throw blobUnknown(repository, digest);
    const size = await this.#layer.upstreams.blobSize(mirror, repository, digest);
    if (size === undefined) throw blobUnknown(repository, digest);
    return { digest, size };
  }

  /** Reads a blob beneath. If a mirror's repository lacks it, returns the mirror instead. */
  async #blobBeneath<Found>(
    access: ReadAccess,
    read: (access: ReadAccess) => Promise<Found>,
  ): Promise<[Found, undefined] | [undefined, Mirror]> {
    try {
      return [await read(access), undefined];
    } catch (error) {
      const isAbsent = error instanceof NotPublic || isNotHere(error);
      const mirror = isAbsent ? await this.#layer.upstreams.of(access.repository) : undefined;
      if (mirror === undefined) throw error;
      // The upstream is asked only for callers who may pull, also while the store cannot tell who they are.
      const allowed = await requireAllowed(this.#layer, mirror, access);
      const again = (): Promise<Found> => (error instanceof NotPublic ? read(allowed) : Promise.reject(error));
      if (!covers(mirror, access.repository)) return [await again(), undefined];
      const found = await ifHere(again());
      return found === undefined ? [undefined, mirror] : [found, undefined];
    }
  }
}

/** Two ways to read the same content. */
interface Reads<Found> {
  readonly beneath: (access: ReadAccess, reference: Reference) => Promise<Found>;
  readonly upstream: (mirror: Mirror, wanted: Wanted) => Promise<Found | undefined>;
}

interface Wanted {
  readonly digest: Digest;
  /** The upstream's description, if it was asked for a tag. */
  readonly descriptor: ManifestDescriptor | undefined;
}

/** Returns the result; undefined if the registry beneath lacks it or does not answer. */
async function ifHere<Found>(found: Promise<Found>): Promise<Found | undefined> {
  try {
    return await found;
  } catch (error) {
    if (isNotHere(error)) return undefined;
    throw error;
  }
}

function isNotHere(error: unknown): boolean {
  return isUnknown(error) || isUnavailable(error);
}

/** Returns a function that returns the promise's value or throws its error. */
function outcomeOf<Found>(promise: Promise<Found>): Promise<() => Found> {
  return promise.then(
    (found) => () => found,
    (error: unknown) => () => {
      throw error;
    },
  );
}
