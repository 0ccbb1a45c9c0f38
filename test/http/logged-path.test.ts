import { expect, test } from 'vitest';
import { loggedPath } from '../../src/http/logged-path.ts';

const ID = '0197f0a2-1c3d-7e4f-8a5b-6c7d8e9f0a1b';
const SIGNATURE = 'q8ZkT1yP0vXw3Jm5Rb7Lc9Nd2Fg4Hs6Ka8Ue1Wi0Yo3';
const DIGEST = `sha256:${'ab'.repeat(32)}`;

test.each([
  '/v2/',
  '/v2/alice/app/manifests/latest',
  `/v2/alice/app/manifests/v1.2.3-RC1_${'a'.repeat(20)}`,
  `/v2/alice/app/blobs/${DIGEST}`,
  `/v2/alice/app/blobs/sha512:${'0f'.repeat(64)}`,
  '/v2/alice/app/blobs/uploads/',
  '/v2/alice%2Fapp/tags/list',
  '/100%',
  '/%ff%fe',
  `/${ID}`,
])('%s is logged as it is', (path) => {
  expect(loggedPath(path)).toBe(path);
});

test.each([
  [`/v2/alice/app/blobs/uploads/${ID}.5.17.sha256.${SIGNATURE}`, `/v2/alice/app/blobs/uploads/${ID}`],
  [`/v2/alice/app/blobs/uploads/${SIGNATURE}.sha256.17.5.${ID}`, '/v2/alice/app/blobs/uploads/'],
  [`/v2/alice/app/blobs%2Fuploads/${ID}.5.17.sha256.${SIGNATURE}`, `/v2/alice/app/blobs/uploads/${ID}`],
  [`/v2/alice/app/blobs%25252fuploads/${ID}.5`, `/v2/alice/app/blobs/uploads/${ID}`],
  [`/v2/alice/app/blobs/uploads/${ID}\n${SIGNATURE}`, `/v2/alice/app/blobs/uploads/${ID}`],
  [`/v2/alice/app/blob/upload/${ID}.5.17.sha256.${SIGNATURE}`, `/v2/alice/app/blob/upload/${ID}.5.17.sha256.…`],
  [`/berth_${SIGNATURE}/x`, '/…/x'],
])('%s is logged as %s', (path, logged) => {
  expect(loggedPath(path)).toBe(logged);
});
