/** Answers of an upstream to requests that began before a deletion. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { addUsers, call } from '../support/client.ts';
import { becomeMirror, stopMirrors } from '../support/mirrors.ts';
import { stubUpstream } from '../support/stub-upstream.ts';

const upstream = stubUpstream();

beforeEach(async () => {
  await addUsers();
  await becomeMirror('alice', { pushes: 'forwarded' });
});
afterEach(stopMirrors);

const ask = (method: string, path: string): Promise<Response> => call(method, `/v2/alice/app/${path}`, { as: 'alice' });

describe('a deletion of a manifest', () => {
  test.each(['GET', 'HEAD'])('is not undone by the answer to an earlier %s', async (method) => {
    const { digest, mediaType, bytes } = await upstream.image('app', 'v1');
    const path = `manifests/${digest}`;
    let deleted: number | undefined;
    upstream.answers = async (request) => {
      // This answer to HEAD has no digest or length, so the mirror goes on to GET the manifest.
      if (request.method === 'HEAD') return new Response(null);
      if (request.method !== 'GET' || deleted !== undefined) return undefined;
      deleted = (await ask('DELETE', path)).status;
      return new Response(bytes, { headers: { 'Content-Type': mediaType } });
    };
    await ask(method, path);
    expect(deleted).toBe(202);
    expect((await ask('GET', path)).status).toBe(404);
  });

  test('does not disturb a pull of another manifest of the repository', async () => {
    const [other, { digest }] = [await upstream.image('app', 'v1'), await upstream.image('app', 'v2')];
    let deleted: number | undefined;
    upstream.answers = async ({ method }) => {
      if (method === 'GET') deleted ??= (await ask('DELETE', `manifests/${digest}`)).status;
      return undefined;
    };
    expect((await ask('GET', `manifests/${other.digest}`)).status).toBe(200);
    expect(deleted).toBe(202);
  });
});

test.each(['tags/list', `referrers/sha256:${'1'.repeat(64)}`])(
  'a list requested after a deletion asks the upstream again, and does not share a request from before: %s',
  async (path) => {
    await upstream.image('app', 'v1');
    let later: Promise<Response> | undefined;
    let hasAskedAgain = false;
    const isList = (each: string): boolean => each.includes(path);
    upstream.answers = async ({ url }) => {
      if (!isList(url)) return undefined;
      if (later === undefined) {
        expect((await ask('DELETE', 'manifests/v1')).status).toBe(202);
        later = ask('GET', `${path}?upstream=true`);
        const isAsked = vi.waitUntil(() => upstream.requests.filter(isList).length === 2);
        hasAskedAgain = await isAsked.catch(() => false);
      }
      return Response.json({ tags: [], manifests: [] });
    };
    expect((await ask('GET', `${path}?upstream=true`)).status).toBe(200);
    expect([hasAskedAgain, (await later)?.status]).toEqual([true, 200]);
  },
);
