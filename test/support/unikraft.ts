/**
 * The requests of `unikraft`, one after another. It pushes and pulls with containerd's client (`core/remotes/docker`).
 * For a blob it sends HEAD, POST (for a mount, if the layer was read from another repository), and one PUT with all
 * bytes. It puts the manifest and then the index, both to the tag.
 */
import type { Application, Piece } from './application.ts';
import type { Login } from './kraft.ts';
import { type Challenge, challengeIn, expectStatus, type Reply, type Sent, type Wire } from './wire.ts';

const RESOLVED = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  '*/*',
].join(', ');

export class Unikraft {
  readonly #wire: Wire;
  readonly #login: Login;
  /** Tokens by their scopes, joined in one string. */
  readonly #tokens = new Map<string, string>();
  #challenge: Challenge | undefined;

  constructor(wire: Wire, login: Login) {
    this.#wire = wire;
    this.#login = login;
  }

  /** `unikraft build --output <host>/<repository>:<tag>`. Returns the status of each mount that it asked for. */
  async push(repository: string, tag: string, application: Application): Promise<number[]> {
    const { layers, config, manifest, index } = application;
    const mounts: number[] = [];
    for (const blob of [...layers, config]) {
      const answered = await this.#pushBlob(repository, blob);
      if (answered !== undefined) mounts.push(answered);
    }
    for (const document of [manifest, index]) await this.#putManifest(repository, tag, document);
    return mounts;
  }

  /** Gets the token for reading a repository, which {@link pull} then uses. */
  async logIn(repository: string): Promise<void> {
    expectStatus(await this.#ask([`repository:${repository}:pull`], 'GET', '/v2/'), 200);
  }

  /**
   * Reads an image, as the boot of an instance also does: HEAD, then everything by its digest.
   * @param query `?ns=<host>`, which containerd's library adds when it asks another host in place of that one
   */
  async pull(repository: string, reference: string, query = ''): Promise<Map<string, Uint8Array>> {
    const got = new Map<string, Uint8Array>();
    const headers = { Accept: RESOLVED };
    const scopes = [`repository:${repository}:pull`];
    const get = async (path: string): Promise<Uint8Array> =>
      expectStatus(await this.#ask(scopes, 'GET', `/v2/${repository}/${path}${query}`, { headers }), 200).bytes;
    const resolved = await this.#ask(scopes, 'HEAD', `/v2/${repository}/manifests/${reference}${query}`, { headers });
    const queue = [`manifests/${expectStatus(resolved, 200).headers.get('Docker-Content-Digest')}`];
    for (const path of queue) {
      const bytes = await get(path);
      const [kind, digest = ''] = path.split('/');
      got.set(digest, bytes);
      if (kind === 'blobs') continue;
      const { manifests = [], config, layers = [] } = JSON.parse(new TextDecoder().decode(bytes)) as Described;
      queue.push(...manifests.map((child) => `manifests/${child.digest}`));
      queue.push(...[...(config === undefined ? [] : [config]), ...layers].map((blob) => `blobs/${blob.digest}`));
    }
    return got;
  }

  /** `unikraft images delete`. */
  async delete(repository: string, tag: string): Promise<Reply> {
    const scopes = [`repository:${repository}:pull,push`];
    const found = await this.#ask([`repository:${repository}:pull`], 'HEAD', `/v2/${repository}/manifests/${tag}`, {
      headers: { Accept: RESOLVED },
    });
    if (found.status !== 200) return found;
    return this.#ask(scopes, 'DELETE', `/v2/${repository}/manifests/${found.headers.get('Docker-Content-Digest')}`);
  }

  /** Pushes a blob. Returns the status of the POST if it asked for a mount. */
  async #pushBlob(repository: string, { digest, mediaType, bytes, from }: Piece): Promise<number | undefined> {
    const own = [`repository:${repository}:pull,push`];
    const Accept = `${mediaType}, */*`;
    const there = await this.#ask(own, 'HEAD', `/v2/${repository}/blobs/${digest}`, { headers: { Accept } });
    if (expectStatus(there, 200, 404).status === 200) return undefined;
    const query = from === undefined ? '' : `?${new URLSearchParams({ mount: digest, from }).toString()}`;
    const scopes = from === undefined ? own : [...own, `repository:${from}:pull`];
    const opened = await this.#ask(scopes, 'POST', `/v2/${repository}/blobs/uploads/${query}`);
    if (expectStatus(opened, 201, 202).status === 202) {
      const target = new URL(opened.headers.get('Location') ?? '', this.#wire.origin);
      target.searchParams.append('digest', digest);
      const headers = { 'Content-Type': 'application/octet-stream' };
      expectStatus(await this.#ask(own, 'PUT', target.href, { headers, body: bytes }), 200, 201, 204);
    }
    return from === undefined ? undefined : opened.status;
  }

  async #putManifest(repository: string, tag: string, { mediaType, digest, bytes }: Piece): Promise<void> {
    const scopes = [`repository:${repository}:pull,push`];
    const path = `/v2/${repository}/manifests/${tag}`;
    const found = await this.#ask(scopes, 'HEAD', path, { headers: { Accept: `${mediaType}, */*` } });
    if (expectStatus(found, 200, 404).headers.get('Docker-Content-Digest') === digest) return;
    expectStatus(
      await this.#ask(scopes, 'PUT', path, { headers: { 'Content-Type': mediaType }, body: bytes }),
      200,
      201,
      204,
    );
  }

  /** Makes a request with a token for the scopes. The very first request goes without one, and is challenged. */
  async #ask(
    scopes: readonly string[],
    method: string,
    target: string,
    { headers = {}, body }: Partial<Omit<Sent, 'method'>> = {},
  ): Promise<Reply> {
    const scope = scopes.toSorted().join(' ');
    const token = this.#tokens.get(scope) ?? (await this.#token(scope, method, target));
    this.#tokens.set(scope, token);
    const authorized = { ...headers, Authorization: `Bearer ${token}` };
    return this.#wire.request(method, target, { headers: authorized, ...(body !== undefined && { body }) });
  }

  async #token(scope: string, method: string, target: string): Promise<string> {
    this.#challenge ??= challengeIn(await this.#wire.request(method, target));
    const { realm, service } = this.#challenge;
    const { user, secret } = this.#login;
    const form = new URLSearchParams({
      scope,
      service,
      client_id: 'containerd-client',
      grant_type: 'password',
      username: user,
      password: secret,
    });
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded; charset=utf-8' };
    const answer = await this.#wire.request('POST', realm, { headers, body: form.toString() });
    return (JSON.parse(new TextDecoder().decode(expectStatus(answer, 200).bytes)) as { access_token: string })
      .access_token;
  }
}

interface Described {
  readonly manifests?: readonly { readonly digest: string }[];
  readonly config?: { readonly digest: string };
  readonly layers?: readonly { readonly digest: string }[];
}
