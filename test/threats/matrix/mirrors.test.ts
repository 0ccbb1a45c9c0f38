/**
 * Mirrors in the matrix: every caller × every operation × every repository. The upstream has the images, and is asked
 * for nothing by callers without the right.
 */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { addCredentials, basic } from '../../support/client.ts';
import { putImage } from '../../support/content.ts';
import { bytesOf, first, type Image, indexOf } from '../../support/fixture.ts';
import { becomeMirror, stopMirrors } from '../../support/mirrors.ts';
import { applyAtNode1, naming, openWithPlatform, type PlatformRegistry } from '../../support/platform.ts';
import { keepQueuesStill } from '../../support/still-queues.ts';
import { stubUpstream } from '../../support/stub-upstream.ts';
import { ORIGINS } from '../../support/three-hosts.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import type { Mirror } from '../../../src/stores/organizations/mirrors.ts';
import { type Caller, callersOf, OWNER, PLATFORM_TOKEN, USERS_OF_MATRIX } from './callers.ts';
import { AT_CENTRAL, AT_NODE, type Place, type Target } from './repositories.ts';
import { type Expected, expectedOfV2 } from './rule.ts';

type Settings = Pick<Mirror, 'isPublic' | 'pushes'>;

/** Refusals are compared only between repositories of the same visibility whose names are equally long. */
interface Mirrored extends Target {
  /** Whether the mirror has it among its repositories. */
  readonly isCovered: boolean;
}

const ALICE: readonly Omit<Mirrored, 'visibility'>[] = [
  { name: 'alice/closed', state: 'whole', isCovered: true },
  { name: 'alice/absent', state: 'absent', isCovered: true },
  // It has held an image since before the organization became a mirror.
  { name: 'alice/vacant', state: 'whole', isCovered: false },
  { name: 'alice/team/deep', state: 'whole', isCovered: true },
];
/** A repository that is public by itself, whatever its mirror is. */
const OPEN: Mirrored = { name: 'alice/open', visibility: 'public', state: 'whole', isCovered: true };
const OFFICIAL = { name: 'official/base', state: 'whole', isCovered: true } as const;

/** A public mirror makes all of its organization public. */
function targetsOf({ isPublic }: Settings): readonly Mirrored[] {
  const seen = (otherwise: Target['visibility']) => (isPublic ? 'public' : otherwise);
  const alice = ALICE.map(({ name, state, isCovered }) => ({ name, state, isCovered, visibility: seen('private') }));
  return [...alice, OPEN, { ...OFFICIAL, visibility: seen('official') }];
}

interface Content {
  readonly image: string;
  readonly layer: string;
  readonly pushed: Image;
}

interface Operation {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  readonly needs: 'pull' | 'push' | 'delete';
  readonly path: (content: Content) => string;
  readonly body?: (content: Content) => Uint8Array<ArrayBuffer>;
  /** The statuses expected for a caller that is allowed, keyed by what the mirror does with pushes. */
  readonly answers: Readonly<Record<'refused' | 'forwarded', readonly number[]>>;
}

const CHUNK = bytesOf(21, 40);
const CHUNK_DIGEST = await digestOf('sha256', CHUNK);

const always = (...statuses: readonly number[]) => ({ refused: statuses, forwarded: statuses });
const pushed = (status: number) => ({ refused: [403], forwarded: [status] });
/** Whether something is stored by now depends on the mirror's own pace. */
const MAYBE_STORED = [200, 404];

const OPERATIONS: readonly Operation[] = [
  ...(['GET', 'HEAD'] as const).flatMap((method): Operation[] => [
    { method, needs: 'pull', path: () => 'manifests/v1', answers: always(200) },
    { method, needs: 'pull', path: ({ image }) => `manifests/${image}`, answers: always(200) },
    { method, needs: 'pull', path: ({ layer }) => `blobs/${layer}`, answers: always(200) },
  ]),
  { method: 'GET', needs: 'pull', path: () => 'tags/list', answers: always(...MAYBE_STORED) },
  { method: 'GET', needs: 'pull', path: () => 'tags/list?upstream=true', answers: always(200) },
  { method: 'GET', needs: 'pull', path: ({ image }) => `referrers/${image}`, answers: always(200) },
  { method: 'GET', needs: 'pull', path: ({ image }) => `referrers/${image}?upstream=true`, answers: always(200) },
  {
    method: 'PUT',
    needs: 'push',
    path: () => 'manifests/v1',
    body: (content) => content.pushed.bytes,
    answers: pushed(201),
  },
  { method: 'POST', needs: 'push', path: () => 'blobs/uploads/', answers: pushed(202) },
  {
    method: 'POST',
    needs: 'push',
    path: () => `blobs/uploads/?digest=${CHUNK_DIGEST}`,
    body: () => CHUNK,
    answers: pushed(201),
  },
  {
    method: 'POST',
    needs: 'push',
    path: ({ layer }) => `blobs/uploads/?mount=${layer}&from=alice/closed`,
    answers: { refused: [403], forwarded: [201, 202] },
  },
  { method: 'DELETE', needs: 'delete', path: () => 'manifests/v1', answers: always(202, 404) },
  { method: 'DELETE', needs: 'delete', path: ({ image }) => `manifests/${image}`, answers: always(202, 404) },
  { method: 'DELETE', needs: 'delete', path: ({ layer }) => `blobs/${layer}`, answers: always(202, 404) },
];

const CASES: readonly { readonly place: Place; readonly settings: Settings }[] = [
  { place: AT_CENTRAL, settings: { isPublic: false, pushes: 'refused' } },
  { place: AT_CENTRAL, settings: { isPublic: true, pushes: 'refused' } },
  { place: AT_CENTRAL, settings: { isPublic: false, pushes: 'forwarded' } },
  { place: AT_NODE, settings: { isPublic: false, pushes: 'forwarded' } },
];

const upstream = stubUpstream();
let mirrored: Content;
/** The content of `alice/vacant`. */
let held: Content;
let registry: PlatformRegistry;

beforeEach(async () => {
  keepQueuesStill();
  const asked = globalThis.fetch;
  await addCredentials(USERS_OF_MATRIX);
  await env.DB_CENTRAL.prepare('INSERT INTO public_repositories (name) VALUES (?1)').bind(OPEN.name).run();
  registry = openWithPlatform((token) => (token === PLATFORM_TOKEN.whole ? naming('alice') : undefined));
  const platform = globalThis.fetch;
  vi.stubGlobal('fetch', (url: string | URL, init?: RequestInit) =>
    String(url).startsWith('https://platform.test') ? platform(url, init) : asked(url, init),
  );
  for (const name of ['closed', 'vacant', 'team/deep', 'open', 'base']) {
    const { digest } = await upstream.image(name, 'v1', 'the image');
    const layer = await upstream.blob('layer of the image');
    mirrored = { image: digest, layer: layer.digest, pushed: await indexOf([]) };
  }
  upstream.answers = ({ url }) => {
    const { pathname } = new URL(url);
    if (pathname.startsWith('/v2/absent/')) return new Response(null, { status: 404 });
    if (pathname.endsWith('/tags/list')) return Response.json({ name: 'any', tags: ['v1'] });
    return pathname.includes('/referrers/') ? Response.json({ schemaVersion: 2, manifests: [] }) : undefined;
  };
});

afterEach(async () => {
  await stopMirrors();
  vi.restoreAllMocks();
});

async function open({ place, settings }: (typeof CASES)[number]): Promise<void> {
  const isNode = place.host === 'node1';
  if (isNode) await applyAtNode1();
  // Push without `registry`: it would remember that there was no mirror.
  const authorization = basic({ name: OWNER, password: `password-of-${OWNER}` });
  const image = await putImage('alice/vacant', 1, ['v1'], { host: ORIGINS[place.host], as: { authorization } });
  held = { ...mirrored, image: image.digest, layer: first(image.manifest.requiredBlobs) };
  await becomeMirror('alice', { ...settings, repositories: ['closed', 'absent', 'team/*', 'open'] });
  await becomeMirror('official', settings);
  if (isNode) await applyAtNode1();
}

const contentOf = ({ isCovered }: Mirrored): Content => (isCovered ? mirrored : held);

interface Asked {
  readonly operation: Operation;
  readonly target: Mirrored;
  readonly expected: Expected;
}

describe.each(CASES)('mirrors with $settings at $place.host', (settled) => {
  const { place, settings } = settled;
  const pushes = settings.pushes === 'forwarded' ? 'forwarded' : 'refused';

  test.each(callersOf(place.host).filter(isTried))('$name', async (caller) => {
    await open(settled);
    const authorization = await caller.authorization(registry);
    const ask = async ({ operation, target }: Asked): Promise<{ status: number; text: string; where: string }> => {
      const { method, path, body } = operation;
      const content = contentOf(target);
      const sent = body?.(content);
      const type = method === 'PUT' ? content.pushed.manifest.mediaType : 'application/octet-stream';
      const answer = await registry.call(place.host, method, `/v2/${target.name}/${path(content)}`, {
        ...(authorization === undefined ? {} : { as: { authorization } }),
        headers: sent === undefined ? {} : { 'Content-Type': type },
        body: sent ?? null,
      });
      // A broken stream has no bytes to show.
      const text = new TextDecoder().decode(await answer.arrayBuffer().catch(() => new ArrayBuffer()));
      const id = answer.headers.get('X-Request-Id') ?? '';
      return {
        status: answer.status,
        text: text.replaceAll(id, ''),
        where: `${method} ${path(content)} of ${target.name}`,
      };
    };
    const all = targetsOf(settings).flatMap((target) =>
      OPERATIONS.map((operation): Asked => ({
        operation,
        target,
        expected: expectedOf(place, caller, operation, target),
      })),
    );

    const refusals = new Map<string, Set<string>>();
    // Refused requests change nothing, so they may overlap.
    const denied = all.filter(({ expected }) => !expected.allowed);
    const answers = await Promise.all(denied.map(ask));
    for (const [i, { operation, target, expected }] of denied.entries()) {
      const { status, text, where } = answers[i]!;
      expect([where, status]).toEqual([where, expected.answer[0]]);
      if (operation.method !== 'HEAD')
        expect([where, text]).toEqual([where, expect.stringContaining(expected.answer[1] ?? '')]);
      const path = operation.path(contentOf(target));
      const alike = `${operation.method} ${path} ${target.visibility} ${target.name.length} ${status}`;
      const shown = text.replaceAll(target.name, '');
      refusals.set(alike, (refusals.get(alike) ?? new Set()).add(shown));
    }
    expect(upstream.requests).toEqual([]);
    // The answer does not tell what the upstream has, or what is mirrored.
    for (const [alike, shown] of refusals) expect([alike, ...shown]).toHaveLength(2);

    for (const each of all.filter(({ expected }) => expected.allowed)) {
      const { operation, target } = each;
      upstream.asked();
      const { status, where } = await ask(each);
      const isList = /^(?:tags|referrers)/.test(operation.path(mirrored));
      const absent = isList ? MAYBE_STORED : [404];
      const isAbsent = operation.needs === 'pull' && target.state === 'absent';
      const right = isAbsent ? absent : operation.answers[pushes];
      expect([where, status]).toEqual([where, expect.toBeOneOf([...right])]);
      // Ignore GETs of blobs: the mirror sends them in the background, to store what was pulled earlier.
      const name = target.name.slice(target.name.indexOf('/') + 1);
      const asked = upstream.asked().filter((one) => one.includes(`/v2/${name}/`) && !/^GET .*\/blobs\//.test(one));
      if (!target.isCovered || (operation.needs === 'push' && pushes === 'refused'))
        expect([where, ...asked]).toEqual([where]);
    }
  });
});

/**
 * Returns whether to try a caller. Among valid access tokens, only the owner's are tried, because the other matrices
 * try all of them.
 */
function isTried({ name, presented }: Caller): boolean {
  return !presented.startsWith('token') || name.startsWith(OWNER);
}

function expectedOf(place: Place, caller: Caller, { method, needs }: Operation, target: Mirrored): Expected {
  const answers = { whole: [200], empty: [404], absent: [404] } as const;
  return expectedOfV2(place, caller, { name: method, method, needs, path: () => '', answers }, target);
}
