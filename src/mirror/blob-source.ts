/** The upstream, as the source of one blob. */
import type { Config } from '../config.ts';
import type { Host } from '../oci-client/host.ts';
import { RegistryError } from '../oci-client/registry-error.ts';
import { Repository } from '../oci-client/repository.ts';
import { organizationOf } from '../oci/reference.ts';
import { parseUpstream } from '../upstream/address.ts';
import { connectUpstream, upstreamName } from '../upstream/connect.ts';
import { reachOf } from '../upstream/reach.ts';
import type { BlobWanted } from './blob.ts';

export class BlobSource {
  readonly #config: Config;
  /** The last connection, for its tokens, and the settings that it was made with. */
  #connection: { readonly key: string; readonly host: Host } | undefined;

  constructor(config: Config) {
    this.#config = config;
  }

  /** Returns the blob's repository at the upstream. @throws OciError FIELD_INVALID if Berth may not reach it */
  repository({ upstream: settings, repository }: BlobWanted, signal?: AbortSignal): Repository {
    const { from, loginHost, prefix, credential } = settings;
    const reach = reachOf(this.#config);
    const upstream = parseUpstream(from, loginHost, reach);
    const key = JSON.stringify(settings);
    if (this.#connection?.key !== key) this.#connection = { key, host: connectUpstream(upstream, credential, reach) };
    const name = repository.slice(organizationOf(repository).length + 1);
    const full = upstreamName(upstream, prefix === '' ? name : `${prefix}/${name}`);
    return new Repository(this.#connection.host, full, 'pull', signal);
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

/** Returns whether the upstream says that there is no such blob, or none for this login. */
export function isAbsence(error: unknown): boolean {
  return error instanceof RegistryError && [401, 403, 404].includes(error.status);
}
