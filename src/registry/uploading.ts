import type { Algorithm, Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { Store } from '../stores/store.ts';
import { type UploadOptions, Uploads } from '../stores/uploads/uploads.ts';
import type { Body, PresentedSession, UploadProgress, Writer } from './registry.ts';

/**
 * The part of every registry that accepts bytes. They go into the registry's own store, whatever other stores it reads.
 */
export abstract class UploadingRegistry implements Omit<Writer, 'putManifest' | 'mountBlob'> {
  readonly #uploads: Uploads;

  constructor(store: Store, options: UploadOptions) {
    this.#uploads = new Uploads(store, options);
  }

  putBlob(repository: RepositoryName, digest: Digest, body: Body | undefined): Promise<void> {
    return this.#uploads.putWhole(repository, digest, body);
  }

  openUpload(repository: RepositoryName, subject: string, algorithm: Algorithm): Promise<UploadProgress> {
    return this.#uploads.open(repository, subject, algorithm);
  }

  appendChunk(session: PresentedSession, start: number | undefined, body: Body | undefined): Promise<UploadProgress> {
    return this.#uploads.append(session, start, body);
  }

  finishUpload(
    session: PresentedSession,
    digest: Digest,
    start: number | undefined,
    body: Body | undefined,
  ): Promise<void> {
    return this.#uploads.finish(session, digest, start, body);
  }

  uploadProgress(session: PresentedSession): Promise<UploadProgress> {
    return this.#uploads.progress(session);
  }

  cancelUpload(session: PresentedSession): Promise<void> {
    return this.#uploads.cancel(session);
  }
}
