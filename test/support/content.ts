/** Pushes content over HTTP. */
import type { Digest } from '../../src/oci/digest.ts';
import { call, type CallOptions } from './client.ts';
import { bytesOf, contentDigest, type Image, imageOf } from './fixture.ts';

export async function putBlob(
  repository: string,
  content: Uint8Array<ArrayBuffer>,
  options: CallOptions = { as: 'alice' },
): Promise<Digest> {
  const digest = await contentDigest(content);
  const response = await call('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, {
    ...options,
    body: content,
  });
  if (response.status !== 201) throw new Error(`pushing a blob failed: ${response.status} ${await response.text()}`);
  return digest;
}

/** Pushes an image of one config and one layer, with the given tags. */
export async function putImage(
  repository: string,
  seed: number,
  tags: readonly string[],
  options: CallOptions = { as: 'alice' },
): Promise<Image> {
  const config = await putBlob(repository, bytesOf(seed, 30), options);
  const layer = await putBlob(repository, bytesOf(seed + 1, 70), options);
  const image = await imageOf(config, [layer]);
  for (const reference of tags.length === 0 ? [image.digest] : tags) {
    const response = await putManifest(repository, reference, image, options);
    if (response.status !== 201)
      throw new Error(`pushing a manifest failed: ${response.status} ${await response.text()}`);
  }
  return image;
}

export function putManifest(
  repository: string,
  reference: string,
  image: Image,
  options: CallOptions = { as: 'alice' },
): Promise<Response> {
  const headers = { 'Content-Type': image.manifest.mediaType, ...options.headers };
  return call('PUT', `/v2/${repository}/manifests/${reference}`, { ...options, headers, body: image.bytes });
}
