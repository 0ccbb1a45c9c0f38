/** A large document holds room in the isolate's budget until its client has received it. */
import { createExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createApp } from '../../src/app.ts';
import { BUDGET_BYTES, isolateBudget, STALLED_MILLISECONDS } from '../../src/registry/buffering.ts';
import { addUsers, basic, HOST, USERS } from '../support/client.ts';
import { putBlob, putManifest } from '../support/content.ts';
import { bytesOf, type Image, imageOf, indexOf } from '../support/fixture.ts';

const MIB = 1024 * 1024;

let large: Image;
let small: Image;
const open: Response[] = [];

beforeEach(async () => {
  await addUsers();
  [large, small] = await Promise.all([indexOf([], { annotations: { a: 'ü😀'.repeat(600_000) } }), indexOf([])]);
  for (const image of [large, small]) expect((await putManifest('alice/app', image.digest, image)).status).toBe(201);
});
afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(open.splice(0).map(async ({ body }) => body?.cancel().catch(() => undefined)));
  await vi.waitUntil(() => isolateBudget.inUse() === 0);
});

async function ask(
  path: string,
  method = 'GET',
  body: string | null = null,
  context = createExecutionContext(),
): Promise<Response> {
  const headers = { Authorization: basic(USERS.alice), ...(body !== null && { 'Content-Type': 'application/json' }) };
  const request = new Request(`${HOST}${path}`, { method, headers, body });
  const response = await createApp().fetch(request, env, context);
  open.push(response);
  return response;
}

const get = ({ digest }: Image): Promise<Response> => ask(`/v2/alice/app/manifests/${digest}`);

/** Returns whether an answer comes without waiting for room. */
async function isAnswered(asked: Promise<Response>): Promise<boolean> {
  let isDone = false;
  void asked.then(() => (isDone = true));
  await vi.waitUntil(() => isDone || isolateBudget.hasWaiters());
  return isDone;
}

test('a manifest is served whole, byte for byte, and then holds no room', async () => {
  for (const image of [large, small]) {
    const response = await get(image);
    expect(response.headers.get('Content-Length')).toBe(String(image.bytes.byteLength));
    expect(isolateBudget.inUse() > 0).toBe(image === large);
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(image.bytes);
    await vi.waitUntil(() => isolateBudget.inUse() === 0);
  }
});

test('a few clients that do not read hold half of the budget, and the next waits until one has read', async () => {
  const unread: Response[] = [];
  let waiting = get(large);
  while (await isAnswered(waiting)) {
    unread.push(await waiting);
    waiting = get(large);
  }
  expect(unread.length).toBeGreaterThan(0);
  expect(isolateBudget.inUse()).toBeLessThanOrEqual(BUDGET_BYTES / 2);
  // Small answers and request bodies are still served.
  expect((await get(small)).status).toBe(200);
  expect((await putManifest('alice/app', 'again', large)).status).toBe(201);
  const [first] = unread;
  expect((await first!.arrayBuffer()).byteLength).toBe(large.bytes.byteLength);
  expect((await waiting).status).toBe(200);
});

test('a client that stops reading loses the answer', async () => {
  vi.useFakeTimers();
  const response = await get(large);
  const reader = response.body!.getReader();
  await reader.read();
  expect(isolateBudget.inUse()).toBeGreaterThan(0);
  await vi.advanceTimersByTimeAsync(STALLED_MILLISECONDS + 2000);
  expect(isolateBudget.inUse()).toBe(0);
  const rest = async (): Promise<void> => {
    while (!(await reader.read()).done);
  };
  await expect(rest()).rejects.toThrow();
  reader.releaseLock();
});

test('a client that reads a piece at a time keeps the answer only while nobody waits for its room', async () => {
  const pieces = async (): Promise<boolean> => {
    const reader = (await get(large)).body!.getReader();
    let isWhole = true;
    for (let taken = 0; isWhole && isolateBudget.inUse() > 0 && taken < 80; taken++) {
      isWhole = await reader.read().then(
        () => true,
        () => false,
      );
      await vi.advanceTimersByTimeAsync(100);
    }
    const isHeld = isolateBudget.inUse() > 0;
    await reader.cancel().catch(() => undefined);
    return isHeld;
  };
  vi.useFakeTimers();
  expect(await pieces()).toBe(true);
  const hasWaiters = vi.spyOn(isolateBudget, 'hasWaiters').mockReturnValue(true);
  expect(await pieces()).toBe(false);
  hasWaiters.mockRestore();
});

test('the request lasts until a large answer is sent, or the client has gone', async () => {
  const workAfter = async ({ digest }: Image): Promise<[Response, Promise<unknown>[]]> => {
    const context = createExecutionContext();
    const waitUntil = vi.spyOn(context, 'waitUntil');
    const response = await ask(`/v2/alice/app/manifests/${digest}`, 'GET', null, context);
    return [response, waitUntil.mock.calls.map(([work]) => work)];
  };
  // The first pull of an image is recorded after its answer.
  for (const image of [small, large]) await (await get(image)).arrayBuffer();
  const [, without] = await workAfter(small);
  const [{ body }, work] = await workAfter(large);
  expect(work.length).toBe(without.length + 1);
  const reader = body!.getReader();
  await reader.read();
  expect(isolateBudget.inUse()).toBeGreaterThan(0);
  await reader.cancel();
  await Promise.all(work);
  expect(isolateBudget.inUse()).toBe(0);
});

test('a 304 and a restore hold no room once they are answered', async () => {
  const headers = { Authorization: basic(USERS.alice), 'If-None-Match': `"${large.digest}"` };
  const request = new Request(`${HOST}/v2/alice/app/manifests/${large.digest}`, { headers });
  expect((await createApp().fetch(request, env, createExecutionContext())).status).toBe(304);
  expect(isolateBudget.inUse()).toBe(0);
  const image = '/api/organizations/alice/repositories/app/images/latest';
  for (const each of [large, small]) expect((await putManifest('alice/app', 'latest', each)).status).toBe(201);
  const { history } = await (
    await ask(`${image}/history`)
  ).json<{
    history: { version: number; origin: string; digest: string }[];
  }>();
  const { version, origin } = history.find(({ digest }) => digest === large.digest)!;
  const borrowed: number[] = [];
  const wait = vi.spyOn(isolateBudget, 'wait').mockImplementation(async (bytes, releasing) => {
    borrowed.push(bytes);
    const loan = isolateBudget.borrow(bytes, releasing);
    return loan!;
  });
  expect((await ask(`${image}/restore`, 'POST', JSON.stringify({ version, origin }))).status).toBe(200);
  wait.mockRestore();
  expect(Math.max(...borrowed)).toBeGreaterThan(large.bytes.byteLength);
  expect(isolateBudget.inUse()).toBe(0);
});

test('a page of referrers with large annotations holds room while it is sent, and a small one or a HEAD none', async () => {
  const config = await putBlob('alice/app', bytesOf(9, 10));
  const descriptor = { mediaType: small.manifest.mediaType, digest: small.digest, size: small.bytes.byteLength };
  const path = `/v2/alice/app/referrers/${small.digest}`;
  const attach = async (note: string): Promise<void> => {
    const image = await imageOf(config, [], { subject: descriptor, annotations: { note } });
    expect((await putManifest('alice/app', image.digest, image)).status).toBe(201);
  };
  const notes = async (): Promise<number[]> => {
    const response = await ask(path);
    held.push(isolateBudget.inUse() > 0);
    const { manifests } = await response.json<{ manifests: { annotations: { note: string } }[] }>();
    return manifests.map(({ annotations }) => annotations.note.length).toSorted((a, b) => a - b);
  };
  const held: boolean[] = [];
  await attach('x');
  expect(await notes()).toEqual([1]);
  await attach('y'.repeat(MIB));
  expect(await notes()).toEqual([1, MIB]);
  expect(held).toEqual([false, true]);
  await vi.waitUntil(() => isolateBudget.inUse() === 0);
  const head = await ask(path, 'HEAD');
  expect([head.status, head.headers.get('Content-Type'), head.body]).toEqual([
    200,
    'application/vnd.oci.image.index.v1+json',
    null,
  ]);
  expect(isolateBudget.inUse()).toBe(0);
});
