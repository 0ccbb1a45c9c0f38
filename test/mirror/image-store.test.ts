/** Images whose blobs cannot be fetched. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import type { MirrorAt } from '../../src/mirror/answers.ts';
import { ImageStore } from '../../src/mirror/image-store.ts';
import type { DueImage, MirrorState } from '../../src/mirror/mirror-state.ts';
import type { OutgoingState } from '../../src/mirror/outgoing-state.ts';
import { OciError } from '../../src/oci/errors.ts';
import type { Registry } from '../../src/registry/registry.ts';
import { mirror } from '../support/mirrors.ts';

const MEDIA_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const DIGEST = `sha256:${'1'.repeat(64)}`;
const MANIFEST = new TextEncoder().encode(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE,
    config: { mediaType: 'application/json', digest: DIGEST, size: 2 },
    layers: [],
  }),
);

test.each([
  { outcome: { failed: 'the upstream is busy', mayPass: true }, becomes: ['put off after attempt 1'] },
  { outcome: { failed: 'the upstream sent other bytes', mayPass: false }, becomes: ['ended'] },
  { outcome: 'absent', becomes: ['ended'] },
])('an image whose blob ends as $outcome is $becomes', async ({ outcome, becomes }) => {
  const seen: string[] = [];
  const state = {
    manifest: () => ({ bytes: MANIFEST, size: MANIFEST.byteLength, mediaType: MEDIA_TYPE, digest: DIGEST }),
    tagsOf: () => [],
    endDue: () => seen.push('ended'),
    putOff: (_due: DueImage, _at: number, attempts: number) => seen.push(`put off after attempt ${attempts}`),
  } as unknown as MirrorState;
  const registry = {
    resolveBlob: () => Promise.reject(new OciError('BLOB_UNKNOWN')),
  } as unknown as Registry;
  const blobs = { idFromName: () => undefined, get: () => ({ ensure: async () => outcome }) };
  const images = new ImageStore({ ...env, MIRROR_BLOB: blobs }, state, {} as OutgoingState, async () => registry);
  const at = { mirror: mirror('alice'), namespace: { kind: 'central', store: 'central' } } as unknown as MirrorAt;
  const due = { repository: 'alice/app', digest: DIGEST, attempts: 0 } as unknown as DueImage;
  await images.storeOrPutOff(at, due);
  expect(seen).toEqual(becomes);
});
