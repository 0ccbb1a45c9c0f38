/** Where the attacks are tried: hosts that this registry serves, each with the requests of the tests bound to it. */
import { call, type CallOptions, HOST, tokenOf, type UserName } from '../support/client.ts';
import { putBlob, putImage, putManifest } from '../support/content.ts';
import type { Image } from '../support/fixture.ts';

export type As = NonNullable<CallOptions['as']>;

function hostAt(name: string, origin: string) {
  const by = (as: As | undefined): CallOptions => ({ host: origin, ...(as === undefined ? {} : { as }) });
  return {
    name,
    call: (method: string, path: string, options: Omit<CallOptions, 'host'> = {}) =>
      call(method, path, { ...options, host: origin }),
    tokenFor: (as: As | undefined, ...scopes: readonly string[]) => tokenOf(by(as), ...scopes),
    putBlob: (repository: string, content: Uint8Array<ArrayBuffer>, as: As = 'alice') => putBlob(repository, content, by(as)),
    putImage: (repository: string, seed: number, tags: readonly string[], as: As = 'alice') =>
      putImage(repository, seed, tags, by(as)),
    putManifest: (repository: string, reference: string, image: Image, as: As = 'alice') =>
      putManifest(repository, reference, image, by(as)),
    publish: (organization: UserName, repository: string) =>
      call('PATCH', `/api/organizations/${organization}/repositories/${repository}`, {
        ...by(organization),
        headers: { 'Content-Type': 'application/json' },
        body: '{"visibility":"public"}',
      }),
    /** Where an upload goes on. */
    async open(repository: string, as: As = 'alice', query = ''): Promise<string> {
      const response = await call('POST', `/v2/${repository}/blobs/uploads/${query}`, by(as));
      if (response.status !== 202) throw new Error(`no upload was opened: ${response.status}`);
      return response.headers.get('Location') ?? '';
    },
    async read(path: string, as?: As): Promise<number> {
      return (await call('GET', path, by(as))).status;
    },
  };
}

export type Host = ReturnType<typeof hostAt>;

export const HOSTS: readonly Host[] = [hostAt('central', HOST)];
