/** Pushes to a mirror that go to its upstream. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { addUsers, call, callApi } from '../support/client.ts';
import { putImage } from '../support/content.ts';
import {
  changeRows,
  FORWARDED,
  MANIFEST,
  noteDigest,
  pulled,
  retry,
  runAlarm,
  settled,
  status,
} from '../support/forwarding.ts';
import { away } from '../support/mirrored-app.ts';
import { becomeMirror, stopMirrors } from '../support/mirrors.ts';
import { applyChangeLog, eventually, NODE1, startQueues, stopQueues } from '../support/queues.ts';
import { stubUpstream, UPSTREAM } from '../support/stub-upstream.ts';

const INDEX = { 'Content-Type': 'application/vnd.oci.image.index.v1+json' };

const upstream = stubUpstream();

afterEach(stopMirrors);

/** Fails writes, and answers everything else. */
const readOnly = (refusal: number) => (request: Request) =>
  request.method === 'GET' || request.method === 'HEAD' ? undefined : new Response(null, { status: refusal });

describe('a push to an organization that forwards its pushes', () => {
  beforeEach(addUsers);

  test('is carried to the upstream: blobs, then the manifest under its tag', async () => {
    await becomeMirror('alice', FORWARDED);
    const { digest } = await putImage('alice/app', 1, ['v1']);
    const { pushes, parked } = await settled(1);
    expect([pushes, parked]).toEqual([{ pending: 0, announced: 0, settled: 1, parked: 0 }, []]);
    expect(upstream.tagged('app', 'v1')).toBe(digest);
    expect(await pulled()).toBe(digest);
  });

  test('has the name that the prefix gives it there', async () => {
    await becomeMirror('alice', { ...FORWARDED, prefix: 'team/apps' });
    const { digest } = await putImage('alice/app', 1, ['v1']);
    await settled(1);
    expect(upstream.tagged('team/apps/app', 'v1')).toBe(digest);
  });

  test('stays here if the repository is none that is mirrored', async () => {
    await becomeMirror('alice', { ...FORWARDED, repositories: ['team/*'] });
    const { digest } = await putImage('alice/app', 1, ['v1']);
    expect(await pulled()).toBe(digest);
    expect((await status()).pushes).toEqual({ pending: 0, announced: 0, settled: 0, parked: 0 });
    expect(upstream.asked()).toEqual([]);
  });

  test('mounts a blob that was forwarded to another repository', async () => {
    await becomeMirror('alice', FORWARDED);
    await putImage('alice/app', 1, ['v1']);
    await settled(1);
    upstream.asked();
    await putImage('alice/other', 1, ['v1']);
    await settled(2);
    const writes = upstream.asked().filter((each) => each.startsWith('POST') || each.startsWith('PUT'));
    expect(writes).toEqual([
      'POST /v2/other/blobs/uploads/',
      'POST /v2/other/blobs/uploads/',
      'PUT /v2/other/manifests/v1',
    ]);
  });

  test('by its digest is carried, and an index after its images', async () => {
    await becomeMirror('alice', FORWARDED);
    const { digest, bytes } = await putImage('alice/app', 1, []);
    const child = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: bytes.byteLength };
    const absent = { ...child, digest: `sha256:${'0'.repeat(64)}` };
    const body = JSON.stringify({ schemaVersion: 2, manifests: [child] });
    expect((await call('PUT', MANIFEST, { as: 'alice', body, headers: INDEX })).status).toBe(201);
    await settled(2);
    expect(upstream.hasManifest('app', digest)).toBe(true);
    const sparse = JSON.stringify({ schemaVersion: 2, manifests: [child, absent] });
    await call('PUT', MANIFEST, { as: 'alice', body: sparse, headers: INDEX });
    // Which manifests an index may lack is the upstream's rule.
    const { parked } = await eventually(status, ({ pushes }) => pushes.parked === 1);
    expect(parked).toMatchObject([{ tag: 'v1', reason: expect.stringContaining('MANIFEST_BLOB_UNKNOWN') }]);
  });

  test('brings the images of an index that were here before', async () => {
    const { digest, bytes } = await putImage('alice/app', 1, []);
    await becomeMirror('alice', FORWARDED);
    const child = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: bytes.byteLength };
    const body = JSON.stringify({ schemaVersion: 2, manifests: [child] });
    await call('PUT', MANIFEST, { as: 'alice', body, headers: INDEX });
    await settled(1);
    expect(upstream.hasManifest('app', digest)).toBe(true);
  });

  test('that is refused is not carried', async () => {
    await becomeMirror('alice', FORWARDED);
    const missing = { mediaType: 'application/json', digest: `sha256:${'1'.repeat(64)}`, size: 2 };
    const body = JSON.stringify({ schemaVersion: 2, config: missing, layers: [] });
    const headers = { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' };
    expect((await call('PUT', MANIFEST, { as: 'alice', body, headers })).status).toBe(400);
    await runAlarm();
    expect(upstream.requests.filter((each) => each.startsWith('PUT'))).toEqual([]);
    expect((await status()).pushes).toEqual({ pending: 0, announced: 0, settled: 0, parked: 0 });
  });
});

describe('while the upstream does not take a push', () => {
  beforeEach(addUsers);

  test('the tag means what was pushed here, and afterwards what it means there', async () => {
    await becomeMirror('alice', { ...FORWARDED, ttl: 0 });
    const before = await upstream.image('app', 'v1', 'before');
    expect(await pulled()).toBe(before.digest);
    upstream.answers = readOnly(503);
    const { digest } = await putImage('alice/app', 1, ['v1']);
    expect(await pulled()).toBe(digest);
    expect((await status()).pushes).toMatchObject({ pending: 1, settled: 0 });
    upstream.answers = () => undefined;
    await settled(1);
    const after = await upstream.image('app', 'v1', 'after');
    expect(await pulled()).toBe(after.digest);
  });

  test('it is not parked, and the upstream is left alone', async () => {
    await becomeMirror('alice', FORWARDED);
    upstream.answers = away;
    const { digest } = await putImage('alice/app', 1, ['v1']);
    await vi.waitUntil(() => upstream.requests.length > 0);
    const { pushes } = await status();
    expect(pushes).toEqual({ pending: 1, announced: 0, settled: 0, parked: 0 });
    expect(await pulled()).toBe(digest);
    upstream.answers = () => undefined;
    await settled(1);
    expect(upstream.tagged('app', 'v1')).toBe(digest);
  });

  test('a later push of the tag takes the place of an earlier one', async () => {
    await becomeMirror('alice', FORWARDED);
    upstream.answers = readOnly(503);
    const first = await putImage('alice/app', 1, ['v1']);
    const second = await putImage('alice/app', 5, ['v1']);
    expect((await status()).pushes.pending).toBe(1);
    upstream.answers = () => undefined;
    await settled(1);
    expect(upstream.tagged('app', 'v1')).toBe(second.digest);
    expect(upstream.hasManifest('app', first.digest)).toBe(false);
  });
});

describe('a push that the upstream refuses', () => {
  beforeEach(addUsers);

  test('is parked with its reason, without the password, until somebody retries', async () => {
    const secret = 'the-secret-of-the-upstream';
    await becomeMirror('alice', { ...FORWARDED, credential: { user: 'ci', secret } });
    upstream.answers = (request) =>
      request.method === 'POST'
        ? Response.json({ errors: [{ code: 'DENIED', message: `not with ${secret}` }] }, { status: 403 })
        : undefined;
    const { digest } = await putImage('alice/app', 1, ['v1']);
    const { parked } = await eventually(status, ({ pushes }) => pushes.parked === 1);
    expect(parked).toEqual([
      {
        repository: 'alice/app',
        tag: 'v1',
        digest,
        attempts: 1,
        reason: expect.stringContaining('DENIED: not with …') as string,
      },
    ]);
    expect(await pulled()).toBe(digest);
    upstream.answers = () => undefined;
    expect(await retry()).toEqual({ retried: 1 });
    await settled(1);
    expect(upstream.tagged('app', 'v1')).toBe(digest);
  });

  test('is tried again after a change of the mirror', async () => {
    await becomeMirror('alice', FORWARDED);
    upstream.answers = readOnly(403);
    const { digest } = await putImage('alice/app', 1, ['v1']);
    await eventually(status, ({ pushes }) => pushes.parked === 1);
    upstream.answers = () => undefined;
    await becomeMirror('alice', { ...FORWARDED, isPublic: true });
    expect(await pulled()).toBe(digest);
    await settled(1);
  });
});

describe('a push whose request was cut off', () => {
  beforeEach(addUsers);

  const cutOff = async (): Promise<void> => {
    await changeRows("UPDATE outgoing SET stage = 'noted', version = 0, due_at = 0");
    await runAlarm();
  };

  test('after its commit is carried', async () => {
    await becomeMirror('alice', FORWARDED);
    upstream.answers = readOnly(503);
    const { digest } = await putImage('alice/app', 1, ['v1']);
    upstream.answers = () => undefined;
    await cutOff();
    await settled(1);
    expect(upstream.tagged('app', 'v1')).toBe(digest);
  });

  test('is carried under no tag if its manifest was committed', async () => {
    await becomeMirror('alice', FORWARDED);
    const { digest } = await putImage('alice/app', 1, []);
    await settled(1);
    await noteDigest(digest, Date.now(), 0);
    await runAlarm();
    await settled(2);
  });

  test('is not carried if its manifest was committed long before', async () => {
    await becomeMirror('alice', FORWARDED);
    const { digest } = await putImage('alice/app', 1, []);
    await settled(1);
    await noteDigest(digest, Date.now() + 600_000, 0);
    await runAlarm();
    expect((await status()).pushes).toEqual({ pending: 0, announced: 0, settled: 1, parked: 0 });
  });

  test('is carried although the mirror of another store has removed its tag since', async () => {
    await becomeMirror('alice', FORWARDED);
    upstream.answers = readOnly(503);
    const { digest } = await putImage('alice/app', 1, ['v1']);
    const kept = env.DB_CENTRAL
      .prepare(`INSERT INTO tag_history (repository, name, version, origin, digest, recorded_at,
      author) SELECT repository, name, version, origin, digest, 1, author FROM tags`);
    const removed = env.DB_CENTRAL.prepare(`UPDATE tags SET digest = NULL, version = version + 1, origin = 'node1',
      author = ?`);
    await env.DB_CENTRAL.batch([kept, removed.bind(UPSTREAM)]);
    upstream.answers = () => undefined;
    await cutOff();
    await settled(1);
    expect(upstream.tagged('app', 'v1')).toBe(digest);
  });

  test('is carried only if it is the last of its tag', async () => {
    await becomeMirror('alice', FORWARDED);
    upstream.answers = readOnly(503);
    const first = await putImage('alice/app', 1, ['v1']);
    const second = await putImage('alice/app', 5, ['v1']);
    await changeRows(
      `INSERT INTO outgoing (repository, tag, digest, media_type, size, stage, noted_at, due_at)
        VALUES ('alice/app', 'v1', ?, '', 1, 'noted', ?, 0)`,
      first.digest,
      Date.now(),
    );
    upstream.answers = () => undefined;
    await cutOff();
    await settled(1);
    expect(upstream.tagged('app', 'v1')).toBe(second.digest);
    expect(upstream.hasManifest('app', first.digest)).toBe(false);
  });
});

test('a push that the earlier upstream has taken does not count after a change of the mirror', async () => {
  await addUsers();
  await becomeMirror('alice', FORWARDED);
  let isChanged = false;
  upstream.answers = async ({ method }) => {
    // This is the look whether the upstream shows the push.
    if (method !== 'HEAD' || isChanged || upstream.tagged('app', 'v1') === undefined) return undefined;
    isChanged = true;
    await becomeMirror('alice', { ...FORWARDED, prefix: 'other' });
    await pulled();
    return undefined;
  };
  const { digest } = await putImage('alice/app', 1, ['v1']);
  await vi.waitUntil(() => upstream.tagged('other/app', 'v1') === digest, { timeout: 30_000 });
  expect((await settled(1)).pushes).toMatchObject({ pending: 0, announced: 0, parked: 0 });
});

test('a push that the mirror does not forward any more is parked, not carried', async () => {
  await addUsers();
  await becomeMirror('alice', FORWARDED);
  upstream.answers = readOnly(503);
  await putImage('alice/app', 1, ['v1']);
  upstream.answers = () => undefined;
  upstream.asked();
  await becomeMirror('alice', { ...FORWARDED, repositories: ['team/*'] });
  await putImage('alice/team/app', 1, ['v1']);
  const { parked } = await eventually(status, ({ pushes }) => pushes.parked === 1 && pushes.settled === 1);
  expect(parked).toMatchObject([{ repository: 'alice/app', reason: 'the mirror does not forward it now' }]);
  expect(upstream.tagged('app', 'v1')).toBeUndefined();
});

describe('threats', () => {
  beforeEach(addUsers);

  test('who may only pull can neither push nor delete at the upstream, nor retry', async () => {
    await becomeMirror('alice', { ...FORWARDED, isPublic: true });
    await upstream.image('app', 'v1');
    const body = JSON.stringify({ schemaVersion: 2, manifests: [] });
    for (const [method, headers] of [
      ['PUT', INDEX],
      ['DELETE', {}],
    ] as const) {
      const answer = await call(method, MANIFEST, { as: 'bob', headers, ...(method === 'PUT' ? { body } : {}) });
      expect([method, answer.status]).toEqual([method, 403]);
    }
    expect((await callApi('POST', 'organizations/alice/mirror/retry', 'bob')).status).toBe(403);
    expect(upstream.asked()).toEqual([]);
  });

  test('a push uses the credential of its own organization only', async () => {
    await becomeMirror('alice', { ...FORWARDED, credential: { user: 'of-alice', secret: 'alice-secret' } });
    await becomeMirror('bob', { ...FORWARDED, credential: { user: 'of-bob', secret: 'bob-secret' } });
    upstream.answers = ({ headers }) =>
      headers.has('authorization')
        ? undefined
        : new Response(null, { status: 401, headers: { 'WWW-Authenticate': 'Basic realm="upstream"' } });
    await putImage('bob/app', 1, ['v1'], { as: 'bob' });
    await vi.waitUntil(() => upstream.tagged('app', 'v1') !== undefined, { timeout: 30_000 });
    expect([...upstream.authorizations].toSorted()).toEqual(['', `Basic ${btoa('of-bob:bob-secret')}`]);
  });
});

test('a push to a node is carried from there', async () => {
  await startQueues();
  try {
    await becomeMirror('alice', FORWARDED);
    await applyChangeLog();
    const { digest } = await putImage('alice/app', 1, ['v1'], { as: 'alice', host: NODE1 });
    await vi.waitUntil(() => upstream.tagged('app', 'v1') === digest, { timeout: 30_000 });
    expect(await pulled(MANIFEST, NODE1)).toBe(digest);
    expect(await pulled()).toBe(digest);
  } finally {
    await stopQueues();
  }
});
