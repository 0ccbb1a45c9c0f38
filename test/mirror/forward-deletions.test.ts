/** Deletions from a mirror that forwards its pushes: they are asked of the upstream first. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { addUsers, call } from '../support/client.ts';
import { putImage } from '../support/content.ts';
import { confirm, FORWARDED, noteDigest, pulled, settled, status, versionOfManifest } from '../support/forwarding.ts';
import { away } from '../support/mirrored-app.ts';
import { becomeMirror, stopMirrors } from '../support/mirrors.ts';
import { stubUpstream, UPSTREAM } from '../support/stub-upstream.ts';

const upstream = stubUpstream();

beforeEach(addUsers);
afterEach(stopMirrors);

const remove = (reference: string, headers = {}): Promise<Response> =>
  call('DELETE', `/v2/alice/app/manifests/${reference}`, { as: 'alice', headers });

test.each(['a tag', 'a manifest'])(
  'a deletion of %s is asked of the upstream first, and then done here',
  async (kind) => {
    await becomeMirror('alice', FORWARDED);
    const { digest } = await putImage('alice/app', 1, ['v1']);
    await settled(1);
    upstream.asked();
    const reference = kind === 'a tag' ? 'v1' : digest;
    expect((await remove(reference)).status).toBe(202);
    expect(upstream.asked()).toEqual([`DELETE /v2/app/manifests/${reference}`]);
    if (kind === 'a tag') expect(await pulled()).toBe('404');
    else expect(await pulled(`/v2/alice/app/manifests/${digest}`)).toBe('404');
  },
);

test('a deletion that the upstream refuses is refused with advice, and nothing is deleted', async () => {
  await becomeMirror('alice', FORWARDED);
  const { digest } = await putImage('alice/app', 1, ['v1']);
  await settled(1);
  upstream.deletes = false;
  const answer = await remove('v1');
  expect(answer.status).toBe(405);
  const text = await answer.text();
  expect(text).toContain('UNSUPPORTED');
  expect(text).toContain(`${UPSTREAM} does not delete this, so nothing was deleted`);
  expect(await pulled()).toBe(digest);
});

test('a deletion of a tag that is gone from an upstream that does not delete is done here', async () => {
  await becomeMirror('alice', FORWARDED);
  await putImage('alice/app', 1, ['v1']);
  await settled(1);
  upstream.deletes = false;
  upstream.untag('app', 'v1');
  expect((await remove('v1')).status).toBe(202);
  expect(await pulled()).toBe('404');
});

test('a deletion is not undone by an answer of the upstream from before', async () => {
  await becomeMirror('alice', FORWARDED);
  const { digest, mediaType, bytes } = await upstream.image('app', 'v1');
  const described = {
    'Content-Type': mediaType,
    'Docker-Content-Digest': digest,
    'Content-Length': String(bytes.byteLength),
  };
  let removed: number | undefined;
  upstream.answers = async ({ method }) => {
    if (method !== 'HEAD' || removed !== undefined) return undefined;
    removed = (await remove('v1')).status;
    return new Response(null, { headers: described });
  };
  await pulled();
  expect(removed).toBe(202);
  expect(await pulled()).toBe('404');
});

test('a deletion while the upstream is away is refused, and nothing is deleted', async () => {
  await becomeMirror('alice', FORWARDED);
  const { digest } = await putImage('alice/app', 1, ['v1']);
  await settled(1);
  upstream.answers = away;
  expect((await remove('v1')).status).toBe(503);
  expect(await pulled()).toBe(digest);
});

test('a deletion of a push that was not carried yet is done, and it is not carried', async () => {
  await becomeMirror('alice', FORWARDED);
  upstream.answers = ({ method }) => (method === 'POST' ? new Response(null, { status: 500 }) : undefined);
  await putImage('alice/app', 1, ['v1']);
  expect((await remove('v1')).status).toBe(202);
  expect((await status()).pushes).toEqual({ pending: 0, announced: 0, settled: 0, parked: 0 });
  expect(await pulled()).toBe('404');
});

test('a deletion of a manifest covers its push by digest that was committed and not confirmed', async () => {
  await becomeMirror('alice', FORWARDED);
  const { digest } = await putImage('alice/app', 1, []);
  await settled(1);
  const version = await versionOfManifest(digest);
  const id = await noteDigest(digest, Date.now(), Date.now() + 600_000);
  expect((await remove(digest)).status).toBe(202);
  expect(await confirm(id, version)).toBe(0);
});

test('a deletion of a manifest does not cover a push by digest that is committed after it', async () => {
  await becomeMirror('alice', FORWARDED);
  const { digest } = await putImage('alice/app', 1, []);
  await settled(1);
  const id = await noteDigest(digest, Date.now(), Date.now() + 600_000);
  expect((await remove(digest)).status).toBe(202);
  upstream.answers = ({ method }) => (method === 'POST' ? new Response(null, { status: 500 }) : undefined);
  await putImage('alice/app', 1, []);
  expect(await confirm(id, (await versionOfManifest(digest)) + 1)).toBe(1);
});

test('a deletion of a tag that only the upstream has succeeds', async () => {
  await becomeMirror('alice', FORWARDED);
  await upstream.image('app', 'v1');
  expect((await remove('v1')).status).toBe(202);
  expect(upstream.tagged('app', 'v1')).toBeUndefined();
  expect((await remove('v1')).status).toBe(404);
});

test('a deletion under a precondition that does not hold asks the upstream for nothing', async () => {
  await becomeMirror('alice', FORWARDED);
  await putImage('alice/app', 1, ['v1']);
  await settled(1);
  upstream.asked();
  const headers = { 'If-Match': `"sha256:${'0'.repeat(64)}"` };
  expect((await remove('v1', headers)).status).toBe(412);
  expect(upstream.asked().filter((each) => each.startsWith('DELETE'))).toEqual([]);
});
