import { beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { addUsers, codeOf } from '../support/client.ts';
import { bytesOf, utf8 } from '../support/fixture.ts';
import { HOSTS_AND_NODES } from './hosts.ts';

beforeEach(addUsers);

const OCI = 'application/vnd.oci.image';
const DOCKER = 'application/vnd.docker.distribution';
const IMAGE = `${OCI}.manifest.v1+json`;
const INDEX = `${OCI}.index.v1+json`;

describe.each(HOSTS_AND_NODES)('ambiguous media type: refused at $name', (host) => {
  const descriptor = async () => ({
    mediaType: 'application/x',
    digest: await host.putBlob('alice/app', bytesOf(1, 10)),
    size: 10,
  });

  test.each([
    IMAGE,
    INDEX,
    `${DOCKER}.manifest.v2+json`,
    `${DOCKER}.manifest.list.v2+json`,
    'application/json',
    'application/vnd.example+json',
    undefined,
  ])('a document that is both image and index, as %s', async (type) => {
    const blob = await descriptor();
    const parts = { config: blob, layers: [blob], manifests: [{ ...blob, mediaType: IMAGE }] };
    const { config, layers, manifests } = parts;
    for (const fields of [
      parts,
      { config, manifests },
      { layers, manifests },
      { config, layers, Manifests: manifests },
      { manifests, Layers: layers },
      { manifests, CONFIG: config },
    ]) {
      for (const mediaType of type === undefined ? [undefined, IMAGE] : [undefined, type]) {
        const body = utf8(
          JSON.stringify({ schemaVersion: 2, ...(mediaType === undefined ? {} : { mediaType }), ...fields }),
        );
        for (const reference of ['latest', await digestOf('sha256', body)]) {
          const headers: Record<string, string> = type === undefined ? {} : { 'Content-Type': type };
          const response = await host.call('PUT', `/v2/alice/app/manifests/${reference}`, {
            as: 'alice',
            headers,
            body,
          });
          expect([Object.keys(fields), response.status, await codeOf(response)]).toEqual([
            Object.keys(fields),
            400,
            'MANIFEST_INVALID',
          ]);
        }
      }
    }
    expect(await host.rowsOf('SELECT digest FROM manifests')).toEqual([]);
  });

  test.each([
    [IMAGE, INDEX],
    [INDEX, IMAGE],
    [`${DOCKER}.manifest.v2+json`, IMAGE],
    [INDEX, `${DOCKER}.manifest.list.v2+json`],
    ['application/json', INDEX],
  ])('a Content-Type %s over a mediaType %s', async (contentType, mediaType) => {
    const blob = await descriptor();
    const fields = mediaType === IMAGE ? { config: blob, layers: [] } : { manifests: [] };
    const body = utf8(JSON.stringify({ schemaVersion: 2, mediaType, ...fields }));
    const response = await host.call('PUT', '/v2/alice/app/manifests/latest', {
      as: 'alice',
      headers: { 'Content-Type': contentType },
      body,
    });
    expect([response.status, await codeOf(response)]).toEqual([400, 'MANIFEST_INVALID']);
  });

  test('a pull gets the type that was pushed, whatever the puller accepts', async () => {
    const body = utf8(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: [] }));
    await host.call('PUT', '/v2/alice/app/manifests/latest', { as: 'alice', headers: { 'Content-Type': INDEX }, body });
    for (const accept of [IMAGE, INDEX, 'text/html', '*/*']) {
      const response = await host.call('GET', '/v2/alice/app/manifests/latest', {
        as: 'alice',
        headers: { Accept: accept },
      });
      expect([accept, response.headers.get('Content-Type'), await response.text()]).toEqual([
        accept,
        INDEX,
        new TextDecoder().decode(body),
      ]);
    }
  });
});
