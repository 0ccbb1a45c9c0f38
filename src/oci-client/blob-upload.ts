/** Uploads a blob, unless the registry has it already, and goes on with an upload that another push has left. */
import type { BodyLimit } from './body-limit.ts';
import { piecesOf, textOf } from './answer.ts';
import { streamOf } from './blob-download.ts';
import type { Content } from './content.ts';
import { RegistryError, refusalOf } from './registry-error.ts';
import type { Repository } from './repository.ts';
import { isTransient } from './retry.ts';
import { closeUpload, sessionIn, sizeIn, type UploadSession } from './upload-session.ts';

/** The number of times that an upload is begun again after the registry has lost it. */
const MAX_RESTARTS = 3;

export interface UploadOptions {
  /** The limit of one body at the host. All uploads to a host share it. */
  readonly limit: BodyLimit;
  /** A repository of the same registry that may have the blob. */
  readonly mountFrom?: string | undefined;
  readonly records?: UploadRecords | undefined;
  /** Called with the number of bytes that the registry has or is being sent. The number falls if some were lost. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

/** The records of unfinished uploads, kept from one push to another. */
export interface UploadRecords {
  /** @param key names the registry, the repository and the digest @returns the text that was written */
  read(key: string): Promise<string | undefined>;
  write(key: string, location: string): Promise<void>;
  remove(key: string): Promise<void>;
}

/**
 * Uploads a blob unless it is there.
 * @throws RegistryError, TransportError. After the latter, `options.records` knows where to continue
 */
export async function uploadBlob(
  repository: Repository,
  content: Content,
  options: UploadOptions,
): Promise<'exists' | 'mounted' | 'uploaded'> {
  const upload = new Upload(repository, content, options);
  for (let restarts = 0; ; restarts += 1) {
    if (await repository.hasBlob(content.digest)) {
      await upload.forget();
      return 'exists';
    }
    const left = restarts === 0 ? await upload.left() : undefined;
    const session = left ?? (await upload.open(restarts === 0 ? options.mountFrom : undefined));
    if (session === undefined) return 'mounted';
    const answer = await upload.complete(session);
    if (!answer.ok) {
      const refusal = await refusalOf('an upload', repository.host.url, answer);
      if (isTransient(refusal)) throw refusal;
      await upload.forget();
      // The session is lost, is also written by another push (416), or came from an earlier push and is of no use.
      if (restarts < MAX_RESTARTS && (answer.status === 404 || answer.status === 416 || left !== undefined)) continue;
      throw refusal;
    }
    await textOf(answer);
    await upload.forget();
    return 'uploaded';
  }
}

class Upload {
  readonly #repository: Repository;
  readonly #content: Content;
  readonly #options: UploadOptions;
  readonly #key: string;

  constructor(repository: Repository, content: Content, options: UploadOptions) {
    this.#repository = repository;
    this.#content = content;
    this.#options = options;
    this.#key = `${repository.host.url.origin}/${repository.name}@${content.digest}`;
  }

  /**
   * Returns the session that another push has left; undefined if there is none, or if the registry has forgotten it.
   */
  async left(): Promise<UploadSession | undefined> {
    const recorded = await this.#options.records?.read(this.#key);
    if (recorded === undefined || !URL.canParse(recorded)) return undefined;
    const { host, scope, signal } = this.#repository;
    const target = new URL(recorded);
    // A refusal of any kind only means that the upload begins anew.
    const answer = await host
      .callAgain({ method: 'GET', target, scope, expect: [204], signal })
      .catch((error: unknown) => {
        if (error instanceof RegistryError) return undefined;
        throw error;
      });
    if (answer === undefined) return undefined;
    await textOf(answer);
    // Only the POST that opens a session is sure to be answered with the limit, and an earlier push sent that POST.
    this.#options.limit.learn(answer.headers);
    this.#options.limit.assume();
    const size = sizeIn(answer.headers);
    return size === undefined || size > this.#content.size ? undefined : sessionIn(answer, target, size);
  }

  /** @returns undefined if the blob was mounted instead */
  async open(mountFrom: string | undefined): Promise<UploadSession | undefined> {
    const { digest } = this.#content;
    const answer = await this.#repository.openUpload(digest, mountFrom).catch((error: unknown) => {
      // A blob can't be mounted from a repository that can't be read.
      if (mountFrom !== undefined && error instanceof RegistryError)
        return this.#repository.openUpload(digest, undefined);
      throw error;
    });
    await textOf(answer);
    if (answer.status === 201) return undefined;
    this.#options.limit.learn(answer.headers);
    const { host, uploadsPath } = this.#repository;
    const session = { url: host.locationOf(answer, new URL(uploadsPath, host.url)), size: 0 };
    await this.#record(session);
    return session;
  }

  /** Sends the missing bytes, and closes the session. */
  complete(session: UploadSession): Promise<Response> {
    const { host, scope, signal } = this.#repository;
    const { digest, size } = this.#content;
    this.#options.onBytes?.(session.size);
    const rest = {
      length: size - session.size,
      open: (start: number, end: number) => this.#counted(session.size + start, session.size + end),
    };
    const blob = { digest, url: new URL(this.#repository.blobPath(digest), host.url) };
    const { sleep } = host.surroundings;
    return closeUpload(host.transportFor(scope), session, rest, blob, {
      limit: this.#options.limit,
      signal,
      isPart: session.size > 0,
      ...(sleep === undefined ? {} : { sleep }),
      onAdvance: async (next) => {
        this.#options.onBytes?.(next.size);
        await this.#record(next);
      },
    });
  }

  async forget(): Promise<void> {
    await this.#options.records?.remove(this.#key);
  }

  async #record({ url }: UploadSession): Promise<void> {
    await this.#options.records?.write(this.#key, url.href);
  }

  #counted(start: number, end: number): ReadableStream<Uint8Array> {
    const stream = this.#content.open(start, end);
    const { onBytes } = this.#options;
    return onBytes === undefined ? stream : streamOf(counting(stream, start, onBytes));
  }
}

async function* counting(
  stream: ReadableStream<Uint8Array>,
  start: number,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let at = start;
  for await (const piece of piecesOf(stream)) {
    yield piece;
    at += piece.byteLength;
    onBytes(at);
  }
}
