import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { Login } from '../../src/auth/credential.ts';
import { KnownGood } from '../../src/auth/known-good.ts';
import { SharedNotes } from '../../src/auth/shared-notes.ts';
import { SigningKeys } from '../../src/auth/signing-keys.ts';
import { DataCenterCache } from '../support/data-center-cache.ts';

const NOW = Date.now();
const HOUR = 3_600_000;
const login: Login = {
  credential: {
    kind: 'organization',
    id: 'id-of-alice',
    organization: 'alice' as Login['credential'] extends { organization: infer Name } ? Name : never,
    rights: ['pull'],
    repositories: ['alice/*'],
  },
  registries: ['central'],
  checkedAt: NOW,
  expiresAt: undefined,
};

let cache: DataCenterCache;
let deferred: Promise<unknown>[];
const defer = (work: Promise<unknown>): void => void deferred.push(work);
const isolate = async (key = env.SIGNING_KEY): Promise<KnownGood> =>
  new KnownGood(new SharedNotes(await SigningKeys.import([key])));

beforeEach(() => {
  cache = new DataCenterCache();
  deferred = [];
  vi.stubGlobal('caches', { default: cache });
});

describe.each(['the same isolate', 'another isolate'])('in %s', (where) => {
  const remembering = async (remembered: Login): Promise<KnownGood> => {
    const known = await isolate();
    known.remember('hash', remembered, NOW, defer);
    await Promise.all(deferred);
    return where === 'the same isolate' ? known : isolate();
  };

  test('a good login answers for a minute, and is distinguished from a guess for an hour', async () => {
    expect(await (await remembering(login)).recall('hash', NOW)).toMatchObject({ login });
    expect(await (await remembering(login)).recall('hash', NOW + 59_999)).toMatchObject({ login });
    expect(await (await remembering(login)).recall('hash', NOW + 60_000)).toEqual({ login: undefined });
    expect(await (await remembering(login)).recall('hash', NOW + HOUR - 1)).toEqual({ login: undefined });
    expect(await (await remembering(login)).recall('hash', NOW + HOUR)).toBeUndefined();
    expect(await (await remembering(login)).recall('other', NOW)).toBeUndefined();
  });

  test('a good login does not answer beyond the end of its credential', async () => {
    const known = await remembering({ ...login, expiresAt: NOW + 1000 });
    expect(await known.recall('hash', NOW + 999)).toMatchObject({ login: { expiresAt: NOW + 1000 } });
    expect(await known.recall('hash', NOW + 1000)).toEqual({ login: undefined });
  });

  test('a good login is not trusted for a time before it, if the clock was set back', async () => {
    expect(await (await remembering(login)).recall('hash', NOW - 72 * HOUR)).toBeUndefined();
  });

  test('a good login can be forgotten', async () => {
    const known = await remembering(login);
    known.forget('hash', defer);
    await Promise.all(deferred);
    expect(await known.recall('hash', NOW)).toBeUndefined();
    expect(await (await isolate()).recall('hash', NOW)).toBeUndefined();
  });
});

test('reading a note does not make it last longer', async () => {
  (await isolate()).remember('hash', login, NOW, defer);
  await Promise.all(deferred);
  const other = await isolate();
  expect(await other.recall('hash', NOW + 59_000)).toMatchObject({ login });
  expect(await other.recall('hash', NOW + 60_000)).toEqual({ login: undefined });
});

describe('the cache of the data center', () => {
  test('holds neither the hash of a login nor a note that another key accepts', async () => {
    (await isolate()).remember('hash-of-a-login', login, NOW, defer);
    await Promise.all(deferred);
    expect(JSON.stringify([...cache.kept])).not.toContain('hash-of-a-login');
    const other = await isolate(btoa('another key of 32 characters long'));
    expect(await other.recall('hash-of-a-login', NOW)).toBeUndefined();
  });

  test('cannot forge a login, change one, or move one to another name', async () => {
    const known = await isolate();
    known.remember('a', login, NOW, defer);
    await Promise.all(deferred);
    const [[name, note] = ['', { text: '', until: 0 }]] = cache.kept;
    known.remember('b', login, NOW, defer);
    await Promise.all(deferred);
    const other = [...cache.kept.keys()].find((each) => each !== name) ?? '';
    const changes: [string, string][] = [
      [name, note.text.replace('"pull"', '"admin"')],
      [name, note.text.slice(43)],
      [name, ''],
      [other, note.text],
    ];
    for (const [at, text] of changes) {
      cache.kept.set(at, { ...note, text });
      expect(await (await isolate()).recall(at === name ? 'a' : 'b', NOW)).toBeUndefined();
    }
  });

  test('may fail, or never answer', async () => {
    const failing = () => Promise.reject(new Error('the cache does not answer'));
    vi.stubGlobal('caches', { default: { match: failing, put: failing, delete: failing } });
    const known = await isolate();
    known.remember('hash', login, NOW, defer);
    await Promise.all(deferred);
    expect(await known.recall('hash', NOW)).toMatchObject({ login });
    expect(await (await isolate()).recall('hash', NOW)).toBeUndefined();
    vi.stubGlobal('caches', { default: { match: () => new Promise(() => undefined) } });
    expect(await (await isolate()).recall('hash', NOW)).toBeUndefined();
  });

  test('works in the runtime itself', async () => {
    vi.unstubAllGlobals();
    const hash = crypto.randomUUID();
    (await isolate()).remember(hash, login, Date.now(), defer);
    await Promise.all(deferred);
    expect(await (await isolate()).recall(hash, Date.now())).toMatchObject({ login });
    (await isolate()).forget(hash, defer);
    await Promise.all(deferred);
    expect(await (await isolate()).recall(hash, Date.now())).toBeUndefined();
  });
});
