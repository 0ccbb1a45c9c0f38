import { algorithmOf, type Digest, digestOf, digestOrUndefined, hexOf } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../oci/manifest-limits.ts';
import {
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  OCI_IMAGE_INDEX,
  OCI_IMAGE_MANIFEST,
  parseMediaType,
} from '../oci/media-type.ts';
import { bytesUpTo, textOf } from './answer.ts';
import { type Descriptor, mediaTypeOf, objectIn, parseDescriptor, type StoredManifest } from './descriptor.ts';
import type { Call, Host, RepeatableCall } from './host.ts';
import { namesPage, type NamesPage, nextPage } from './names-page.ts';
import { RegistryError } from './registry-error.ts';
import { withRetries } from './retry.ts';

const MANIFESTS = [OCI_IMAGE_INDEX, OCI_IMAGE_MANIFEST, DOCKER_MANIFEST_LIST, DOCKER_MANIFEST, '*/*;q=0.5'].join(', ');
/** The most pages of a list that are read. */
const MAX_PAGES = 100;
/** The most referrers of a manifest. A list without end would fill the memory. */
const MAX_REFERRERS = 10_000;
/** The most bytes of a list of referrers, all its pages together. */
export const MAX_REFERRERS_BYTES = 2 * MAX_MANIFEST_BYTES;

/** The description of a manifest by a HEAD. Its size is in bytes. */
export type ManifestDescription = Pick<Descriptor, 'digest' | 'size'> & Pick<StoredManifest, 'mediaType'>;

/** Returns the bytes of a whole answer; undefined if it does not say. */
export function sizeIn({ headers }: Response): number | undefined {
  const length = headers.get('content-length') ?? '';
  return /^\d{1,15}$/.test(length) ? Number(length) : undefined;
}

/** One repository of a registry: each method is one operation of the distribution spec. */
export class Repository {
  readonly host: Host;
  readonly name: string;
  readonly signal: AbortSignal | undefined;
  /** The scopes that a token must have, in the words of the token service. */
  readonly scope: string;
  readonly #root: string;

  /** @param access whether the client may write; a token is asked for no more than that */
  constructor(host: Host, name: string, access: 'pull' | 'push', signal?: AbortSignal) {
    this.host = host;
    this.name = name;
    this.signal = signal;
    this.scope = `repository:${name}:${access === 'pull' ? 'pull' : 'pull,push'}`;
    this.#root = `/v2/${name}`;
  }

  /** Makes a call once, with a token for this repository. */
  call(call: Omit<Call, 'scope' | 'signal'> & { readonly scope?: string }): Promise<Response> {
    return this.host.call({ scope: this.scope, signal: this.signal, ...call });
  }

  /** Returns the digest of a manifest; undefined if there is none, or no digest is stated. */
  async headManifest(reference: string): Promise<Digest | undefined> {
    const response = await this.#callAgain({
      method: 'HEAD',
      target: `${this.#root}/manifests/${reference}`,
      headers: { accept: MANIFESTS },
      expect: [200, 404],
    });
    if (response.status === 404) return undefined;
    return digestOrUndefined(response.headers.get('docker-content-digest') ?? reference);
  }

  /**
   * Describes a manifest.
   * @param known the digest that it had earlier, so that the registry can answer that it still has
   * @returns 'unchanged' if it still has that digest; undefined if there is none, or the answer does not describe it
   */
  async describeManifest(reference: string, known?: Digest): Promise<ManifestDescription | 'unchanged' | undefined> {
    const { status, headers } = await this.#callAgain({
      method: 'HEAD',
      target: `${this.#root}/manifests/${reference}`,
      headers: { accept: MANIFESTS, ...(known === undefined ? {} : { 'if-none-match': `"${known}"` }) },
      expect: [200, 304, 404],
    });
    if (status === 304) return 'unchanged';
    if (status === 404) return undefined;
    const digest = digestOrUndefined(headers.get('docker-content-digest') ?? reference);
    const mediaType = parseMediaType(headers.get('content-type') ?? undefined);
    const size = Number(headers.get('content-length') ?? Number.NaN);
    if (digest === undefined || mediaType === undefined || !Number.isSafeInteger(size)) return undefined;
    if ((digestOrUndefined(reference) ?? digest) !== digest) return undefined;
    return digest === known ? 'unchanged' : { digest, mediaType, size };
  }

  /**
   * Reads a manifest and checks its digest.
   * @returns undefined if there is none
   */
  async getManifest(reference: string): Promise<StoredManifest | undefined> {
    const target = `${this.#root}/manifests/${reference}`;
    const response = await this.#callAgain({
      method: 'GET',
      target,
      headers: { accept: MANIFESTS },
      expect: [200, 404],
    });
    if (response.status === 404) {
      await textOf(response);
      return undefined;
    }
    const bytes = await bytesUpTo(response, MAX_MANIFEST_BYTES + 1);
    if (bytes.byteLength > MAX_MANIFEST_BYTES) throw this.#nonsense(response, `${target} is larger than 4 MiB`);
    const stated = digestOrUndefined(reference) ?? digestOrUndefined(response.headers.get('docker-content-digest'));
    const digest = await digestOf(stated === undefined ? 'sha256' : algorithmOf(stated), bytes);
    if (stated !== undefined && digest !== stated) {
      throw this.#nonsense(response, `the bytes of ${target} have the digest ${digest}, not ${stated}`);
    }
    const declared = parseMediaType(response.headers.get('content-type') ?? undefined);
    return { bytes, digest, mediaType: mediaTypeOf(bytes, declared, target) };
  }

  /**
   * Stores a manifest under a tag or its own digest.
   * @returns whether the registry took note of its subject (distribution-spec, "Pushing Manifests with Subject")
   */
  async putManifest(reference: string, { bytes, mediaType, digest }: StoredManifest): Promise<boolean> {
    const target = `${this.#root}/manifests/${reference}`;
    const response = await this.#callAgain({
      method: 'PUT',
      target,
      headers: { 'content-type': mediaType },
      body: () => bytes,
      expect: [200, 201, 202],
    });
    await textOf(response);
    const stored = digestOrUndefined(response.headers.get('docker-content-digest'));
    if (stored !== undefined && stored !== digest) {
      throw this.#nonsense(response, `${target} was stored as ${stored}, not as ${digest}`);
    }
    return response.headers.has('oci-subject');
  }

  /**
   * Removes a tag, or with a digest a manifest and all its tags.
   * @returns whether there was one
   */
  async deleteManifest(reference: string): Promise<boolean> {
    let attempts = 0;
    const response = await withRetries(this.host.surroundings, this.signal, () => {
      attempts += 1;
      return this.call({
        method: 'DELETE',
        target: `${this.#root}/manifests/${reference}`,
        scope: `repository:${this.name}:pull,push,delete`,
        expect: [200, 202, 204, 404],
      });
    });
    await textOf(response);
    // An attempt whose answer was lost may have removed it.
    return response.status !== 404 || attempts > 1;
  }

  /** Lists the tags, in the registry's order; undefined if there is no such repository. */
  async tags(): Promise<string[] | undefined> {
    const found: string[] = [];
    let page = await this.tagsPage();
    if (page === undefined) return undefined;
    for (let pages = 1; page !== undefined; pages += 1) {
      found.push(...page.names);
      page = page.next === undefined || pages >= MAX_PAGES ? undefined : await this.tagsPage(page.next);
    }
    return found;
  }

  /** Lists a page of the tags, the first by default; undefined if there is no such repository. */
  tagsPage(target: string | URL = `${this.#root}/tags/list?n=1000`): Promise<NamesPage | undefined> {
    return namesPage(this.host, target, { field: 'tags', scope: this.scope, signal: this.signal });
  }

  async hasBlob(digest: Digest): Promise<boolean> {
    const target = this.blobPath(digest);
    const response = await this.#callAgain({ method: 'HEAD', target, expect: [200, 404] });
    return response.status === 200;
  }

  /** Returns the size of a blob in bytes; undefined if there is none. */
  async blobSize(digest: Digest): Promise<number | undefined> {
    const target = this.blobPath(digest);
    const response = await this.#callAgain({ method: 'HEAD', target, expect: [200, 404] });
    if (response.status === 404) return undefined;
    const size = sizeIn(response);
    if (size === undefined) throw this.#nonsense(response, `${target} was answered without its size`);
    return size;
  }

  /**
   * Asks for a blob, once. A registry may ignore the range and answer 200 with the whole blob.
   * @param start the first byte
   * @param end the byte after the last
   */
  getBlob(digest: Digest, start: number, end: number, isWhole: boolean): Promise<Response> {
    return this.call({
      method: 'GET',
      target: this.blobPath(digest),
      headers: isWhole ? {} : { range: `bytes=${start}-${end - 1}` },
      expect: [200, 206],
    });
  }

  /**
   * Opens an upload, or mounts the blob instead if another repository of this registry has it (distribution-spec,
   * "Mounting a blob from another repository").
   * @returns status 201 if it was mounted, otherwise 202
   */
  openUpload(digest: Digest, mountFrom: string | undefined): Promise<Response> {
    const query = new URLSearchParams({
      ...(mountFrom === undefined ? {} : { mount: digest, from: mountFrom }),
      ...(algorithmOf(digest) === 'sha256' ? {} : { 'digest-algorithm': algorithmOf(digest) }),
    }).toString();
    return this.#callAgain({
      method: 'POST',
      target: `${this.uploadsPath}${query === '' ? '' : '?'}${query}`,
      headers: { 'content-length': '0' },
      scope: mountFrom === undefined ? this.scope : `${this.scope} repository:${mountFrom}:pull`,
      expect: [201, 202],
    });
  }

  get uploadsPath(): string {
    return `${this.#root}/blobs/uploads/`;
  }

  blobPath(digest: Digest): string {
    return `${this.#root}/blobs/${digest}`;
  }

  /**
   * Lists the manifests whose subject is this one (distribution-spec, "Listing Referrers").
   * @param enough the number after which no further page is read; all pages by default
   */
  async referrers(digest: Digest, enough = Infinity): Promise<readonly Descriptor[]> {
    const found: Descriptor[] = [];
    let read = 0;
    let target: string | URL | undefined = `${this.#root}/referrers/${digest}`;
    for (let page = 0; target !== undefined && page < MAX_PAGES && found.length < enough; page += 1) {
      const response = await this.#callAgain({ method: 'GET', target, expect: [200, 404] });
      if (response.status === 404) return this.#referrersByTag(digest);
      const bytes = await bytesUpTo(response, MAX_MANIFEST_BYTES);
      found.push(...descriptorsIn(bytes, `the list of referrers of ${digest}`));
      read += bytes.byteLength;
      if (found.length > MAX_REFERRERS || read > MAX_REFERRERS_BYTES)
        throw this.#nonsense(response, `${digest} has too many referrers to list`);
      target = nextPage(response, new URL(target, this.host.url));
    }
    return found;
  }

  /** Registries without the referrers API keep the list under a tag ("Referrers Tag Schema"). */
  async #referrersByTag(digest: Digest): Promise<readonly Descriptor[]> {
    const list = await this.getManifest(referrersTagOf(digest));
    return list === undefined ? [] : descriptorsIn(list.bytes, `the list of referrers of ${digest}`);
  }

  #callAgain(call: Omit<RepeatableCall, 'scope' | 'signal'> & { readonly scope?: string }): Promise<Response> {
    return this.host.callAgain({ scope: this.scope, signal: this.signal, ...call });
  }

  #nonsense(response: Response, message: string): RegistryError {
    return new RegistryError(this.host.url.host, response, message);
  }
}

function descriptorsIn(bytes: Uint8Array, where: string): Descriptor[] {
  const list = objectIn(bytes, where)['manifests'];
  return Array.isArray(list) ? list.map((value) => parseDescriptor(value, where)) : [];
}

/** distribution-spec, "Referrers Tag Schema". */
export function referrersTagOf(digest: Digest): string {
  return `${algorithmOf(digest)}-${hexOf(digest).slice(0, 64)}`;
}
