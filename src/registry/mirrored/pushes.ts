/** Pushes to mirrors: refused, kept, or forwarded to the upstream. */
import type { Algorithm, Digest } from '../../oci/digest.ts';
import { isUnavailable, OciError } from '../../oci/errors.ts';
import type { RepositoryName } from '../../oci/reference.ts';
import type { Mirror } from '../../stores/organizations/mirrors.ts';
import type { PullableRepositories, ReadAccess } from '../access.ts';
import type { Body, Registry, UploadProgress } from '../registry.ts';
import type { Layer } from './layer.ts';
import { forwards } from './coverage.ts';

/** A mirror that takes no pushes opens no upload session, so the operations on sessions need no check. */
export class MirroredPushes implements Pick<Registry, 'putManifest' | 'mountBlob' | 'putBlob' | 'openUpload'> {
  readonly #layer: Layer;

  constructor(layer: Layer) {
    this.#layer = layer;
  }

  async putManifest(...push: Parameters<Registry['putManifest']>): Promise<number> {
    const [repository, digest, { mediaType }, size, tags] = push;
    const mirror = await this.#requirePushes(repository);
    const put = () => this.#layer.beneath.putManifest(...push);
    if (!forwards(mirror, repository)) return put();
    const noted = await this.#layer.upstreams.notePush(mirror, repository, { digest, mediaType, size }, tags);
    try {
      const version = await put();
      await noted.committed(version);
      return version;
    } catch (error) {
      // A store that did not answer may have committed it.
      if (error instanceof OciError && !isUnavailable(error)) noted.refused();
      throw error;
    }
  }

  async mountBlob(
    repository: RepositoryName,
    digest: Digest,
    source: ReadAccess | PullableRepositories,
  ): Promise<boolean> {
    await this.#requirePushes(repository);
    return this.#layer.beneath.mountBlob(repository, digest, source);
  }

  async putBlob(repository: RepositoryName, digest: Digest, body: Body | undefined): Promise<void> {
    await this.#requirePushes(repository);
    return this.#layer.beneath.putBlob(repository, digest, body);
  }

  async openUpload(repository: RepositoryName, subject: string, algorithm: Algorithm): Promise<UploadProgress> {
    await this.#requirePushes(repository);
    return this.#layer.beneath.openUpload(repository, subject, algorithm);
  }

  /** Returns the mirror that a repository belongs to, which takes pushes. @throws OciError DENIED */
  async #requirePushes(repository: RepositoryName): Promise<Mirror | undefined> {
    const mirror = await this.#layer.upstreams.of(repository);
    if (mirror?.pushes !== 'refused') return mirror;
    throw new OciError('DENIED', {
      message: `${mirror.organization} is a mirror of ${mirror.from} and takes no pushes: push to another organization`,
    });
  }
}
