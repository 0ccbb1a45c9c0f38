/** The upstream, as the source of one blob. */
import type { Config } from '../config.ts';
import { Repository, sizeIn } from '../oci-client/repository.ts';
import { withRetries } from '../oci-client/retry.ts';
import type { BlobWanted } from './answers.ts';
import { mirrorObjectOf } from './mirror-object.ts';
import { hostOf, isAbsence, nameAtUpstream } from './reach-upstream.ts';
import { sharedLogin } from './shared-login.ts';

/** A blob that the upstream has begun to send. */
export interface BegunBlob {
  /** Bytes. */
  readonly size: number;
  readonly answer: Response;
}

export class BlobSource {
  readonly #env: object;
  readonly #config: Config;

  constructor(env: object, config: Config) {
    this.#env = env;
    this.#config = config;
  }

  /** Returns the blob's repository at the upstream. @throws OciError FIELD_INVALID if Berth may not reach it */
  repository(wanted: BlobWanted, signal?: AbortSignal): Repository {
    const { mirror, namespace, repository } = wanted;
    const object = mirrorObjectOf(this.#env, mirror.organization, namespace);
    const login = sharedLogin(async (scope, refused) => object.logIn({ mirror, namespace }, scope, refused));
    const host = hostOf(mirror, this.#config, { login });
    return new Repository(host, nameAtUpstream(mirror, this.#config, repository), 'pull', signal);
  }

  /**
   * Begins to read a blob of unknown size. If the answer does not state the size, a HEAD asks for it.
   * @returns undefined if the upstream has no such blob, or does not show it
   */
  async begin(wanted: BlobWanted, signal: AbortSignal): Promise<BegunBlob | undefined> {
    const repository = this.repository(wanted, signal);
    try {
      const ask = (): Promise<Response> => repository.getBlob(wanted.digest, 0, 0, true);
      const answer = await withRetries(repository.host.surroundings, signal, ask);
      const size = sizeIn(answer) ?? (await repository.blobSize(wanted.digest));
      if (size !== undefined) return { size, answer };
      await answer.body?.cancel();
      return undefined;
    } catch (error) {
      if (isAbsence(error)) return undefined;
      throw error;
    }
  }

  /** Returns the size of the blob in bytes; undefined if the upstream has none, or does not show it. */
  async size(wanted: BlobWanted): Promise<number | undefined> {
    try {
      return await this.repository(wanted).blobSize(wanted.digest);
    } catch (error) {
      if (isAbsence(error)) return undefined;
      throw error;
    }
  }
}
