/** Images whose config and layers are written by a test. */
import { expect } from 'vitest';
import { digestOf as contentDigest } from '../../src/oci/digest.ts';
import { call } from '../support/client.ts';
import { utf8 } from '../support/fixture.ts';
import type { ThreeHosts } from '../support/three-hosts.ts';

export const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const CONFIG = 'application/vnd.oci.image.config.v1+json';

export interface Part {
  readonly mediaType: string;
  readonly text: string;
}

export function layer(text: string): Part {
  return { mediaType: 'application/vnd.oci.image.layer.v1.tar', text };
}

/** Pushes a manifest, and returns its digest. */
export async function pushManifest(repository: string, tag: string, type: string, manifest: object): Promise<string> {
  const answer = await call('PUT', `/v2/${repository}/manifests/${tag}`, {
    as: 'alice',
    body: JSON.stringify(manifest),
    headers: { 'Content-Type': type },
  });
  expect(answer.status).toBe(201);
  return answer.headers.get('Docker-Content-Digest') ?? '';
}

/** Pushes an image to central, and returns the digest of its manifest. */
export async function pushParts(
  hosts: ThreeHosts,
  repository: string,
  tag: string,
  config: Part,
  layers: readonly Part[],
): Promise<string> {
  const [described, ...others] = await Promise.all(
    [config, ...layers].map(async ({ mediaType, text }) => {
      const bytes = utf8(text);
      expect((await hosts.putBlob('central', repository, bytes)).status).toBe(201);
      return { mediaType, digest: await contentDigest('sha256', bytes), size: bytes.byteLength };
    }),
  );
  const manifest = { schemaVersion: 2, mediaType: MANIFEST, config: described, layers: others };
  return pushManifest(repository, tag, MANIFEST, manifest);
}
