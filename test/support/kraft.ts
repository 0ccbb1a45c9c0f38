/**
 * The requests of `kraft`, one after another. It pushes and pulls with the Go library go-containerregistry
 * (`pkg/v1/remote`), as crane does. For a blob it sends HEAD, POST, one PATCH with its length, and an empty PUT. It
 * puts the manifest by digest, then the index to the tag, each after a HEAD.
 */
import type { Application, Piece } from './application.ts';
import { challengeIn, expectStatus, type Reply, type Wire } from './wire.ts';

const MANIFEST_TYPES = [
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.index.v1+json',
].join(',');

export interface Login {
  readonly user: string;
  readonly secret: string;
}

export class Kraft {
  readonly #wire: Wire;
  readonly #login: Login;

  constructor(wire: Wire, login: Login) {
    this.#wire = wire;
    this.#login = login;
  }

  /** `kraft pkg --push`. */
  async push(repository: string, tag: string, { layers, config, manifest, index }: Application): Promise<void> {
    const headers = await this.#authorize(repository, 'push,pull');
    if (await this.#isThere(`/v2/${repository}/manifests/${tag}`, headers, index)) return;
    if (!(await this.#isThere(`/v2/${repository}/manifests/${manifest.digest}`, headers, manifest))) {
      for (const blob of [...layers, config]) await this.#pushBlob(repository, headers, blob);
      await this.#putManifest(repository, manifest.digest, headers, manifest);
    }
    await this.#putManifest(repository, tag, headers, index);
  }

  /** `kraft pkg pull`. Returns the bytes that it received, by digest. */
  async pull(repository: string, reference: string): Promise<Map<string, Uint8Array>> {
    const authorized = await this.#authorize(repository, 'pull');
    const headers = { ...authorized, Accept: MANIFEST_TYPES };
    const got = new Map<string, Uint8Array>();
    const get = async (path: string): Promise<Uint8Array> =>
      expectStatus(await this.#wire.request('GET', path, { headers }), 200).bytes;
    const text = (bytes: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(bytes));
    const index = await this.#wire.request('GET', `/v2/${repository}/manifests/${reference}`, { headers });
    got.set(expectStatus(index, 200).headers.get('Docker-Content-Digest') ?? '', index.bytes);
    for (const { digest } of (text(index.bytes) as { manifests: { digest: string }[] }).manifests) {
      const bytes = await get(`/v2/${repository}/manifests/${digest}`);
      got.set(digest, bytes);
      const { config, layers } = text(bytes) as { config: { digest: string }; layers: { digest: string }[] };
      for (const blob of [config, ...layers]) got.set(blob.digest, await get(`/v2/${repository}/blobs/${blob.digest}`));
    }
    return got;
  }

  /** `kraft cloud image rm <name>:<tag>`, or `@<digest>`. Every tag on the index is removed with it. */
  async removeImage(repository: string, reference: string): Promise<Reply> {
    const read = { ...(await this.#authorize(repository, 'pull')), Accept: MANIFEST_TYPES };
    const found = await this.#wire.request('GET', `/v2/${repository}/manifests/${reference}`, { headers: read });
    if (found.status !== 200) return found;
    // kraft's version of the library does not ask for the right to delete.
    const headers = await this.#authorize(repository, 'push,pull');
    return this.#wire.request('DELETE', `/v2/${repository}/manifests/${found.headers.get('Docker-Content-Digest')}`, {
      headers,
    });
  }

  /** `kraft cloud image rm <name>`, in the token's organization. */
  removeRepository(organization: string, name: string): Promise<Reply> {
    const path = `/api/v2.0/projects/${organization}/repositories/${encodeURIComponent(name)}`;
    return this.#wire.request('DELETE', path, { headers: { Authorization: this.#basic() } });
  }

  /** The image storage of `kraft cloud quotas`. */
  summary(organization: string): Promise<Reply> {
    return this.#wire.request('GET', `/api/v2.0/projects/${organization}/summary`, {
      headers: { Authorization: this.#basic() },
    });
  }

  /** `kraft pkg ls --update`. Returns references to those images of the catalog that are tagged `latest`. */
  async listRemote(): Promise<string[]> {
    const headers = await this.#authorizeScope('registry:catalog:*');
    const { bytes } = expectStatus(await this.#wire.request('GET', '/v2/_catalog?n=1000', { headers }), 200);
    const { repositories } = JSON.parse(new TextDecoder().decode(bytes)) as { repositories: string[] };
    const found: string[] = [];
    for (const repository of repositories) {
      const authorized = { ...(await this.#authorize(repository, 'pull')), Accept: MANIFEST_TYPES };
      const index = await this.#wire.request('GET', `/v2/${repository}/manifests/latest`, { headers: authorized });
      if (expectStatus(index, 200, 404).status === 200)
        found.push(`${repository}@${index.headers.get('Docker-Content-Digest')}`);
    }
    return found;
  }

  /**
   * Whether the index is in the list of all images. Versions of 2023 and 2024 ask this after a push, until it is so.
   */
  async isListed(repository: string, { digest }: Piece): Promise<boolean> {
    const headers = { Authorization: `Bearer ${btoa(`${this.#login.user}:${this.#login.secret}`)}` };
    const { bytes } = expectStatus(await this.#wire.request('GET', '/v1/images/list', { headers }), 200);
    const { data } = JSON.parse(new TextDecoder().decode(bytes)) as { data: { images: { digest: string }[] } };
    return data.images.some((image) => image.digest === `${repository}@${digest}`);
  }

  async #pushBlob(
    repository: string,
    headers: Readonly<Record<string, string>>,
    { digest, bytes }: Piece,
  ): Promise<void> {
    const there = await this.#wire.request('HEAD', `/v2/${repository}/blobs/${digest}`, { headers });
    if (expectStatus(there, 200, 404).status === 200) return;
    const opened = await this.#wire.request('POST', `/v2/${repository}/blobs/uploads/`, {
      headers: { ...headers, 'Content-Type': 'application/json' },
    });
    const binary = { ...headers, 'Content-Type': 'application/octet-stream' };
    const target = expectStatus(opened, 202).headers.get('Location') ?? '';
    const sent = await this.#wire.request('PATCH', target, { headers: binary, body: bytes });
    const closing = new URL(expectStatus(sent, 202).headers.get('Location') ?? '', this.#wire.origin);
    closing.searchParams.set('digest', digest);
    expectStatus(await this.#wire.request('PUT', closing.href, { headers: binary }), 201);
  }

  async #isThere(path: string, headers: Readonly<Record<string, string>>, { digest }: Piece): Promise<boolean> {
    const found = await this.#wire.request('HEAD', path, { headers: { ...headers, Accept: MANIFEST_TYPES } });
    return expectStatus(found, 200, 404).headers.get('Docker-Content-Digest') === digest;
  }

  async #putManifest(
    repository: string,
    reference: string,
    headers: Readonly<Record<string, string>>,
    { mediaType, bytes }: Piece,
  ): Promise<void> {
    const typed = { ...headers, 'Content-Type': mediaType };
    const answer = await this.#wire.request('PUT', `/v2/${repository}/manifests/${reference}`, {
      headers: typed,
      body: bytes,
    });
    expectStatus(answer, 201);
  }

  #authorize(repository: string, actions: string): Promise<{ readonly Authorization: string }> {
    return this.#authorizeScope(`repository:${repository}:${actions}`);
  }

  async #authorizeScope(scope: string): Promise<{ readonly Authorization: string }> {
    const { realm, service } = challengeIn(await this.#wire.request('GET', '/v2/'));
    const url = new URL(realm);
    url.searchParams.set('scope', scope);
    url.searchParams.set('service', service);
    const answer = await this.#wire.request('GET', url.href, { headers: { Authorization: this.#basic() } });
    const { token } = JSON.parse(new TextDecoder().decode(expectStatus(answer, 200).bytes)) as { token: string };
    return { Authorization: `Bearer ${token}` };
  }

  #basic(): string {
    return `Basic ${btoa(`${this.#login.user}:${this.#login.secret}`)}`;
  }
}
