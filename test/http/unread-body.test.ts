import { describe, expect, test } from 'vitest';
import { discardBody } from '../../src/http/unread-body.ts';

const MEBIBYTE = 1024 ** 2;

/** @param length the length that the request states, if any */
function bodyOf(
  mebibytes: number,
  length?: number,
): { request: Request; sent: () => number; cancelled: () => boolean } {
  let [sent, cancelled] = [0, false];
  const body = new ReadableStream({
    type: 'bytes',
    pull(controller) {
      if (sent === mebibytes) return controller.close();
      sent += 1;
      controller.enqueue(new Uint8Array(MEBIBYTE));
    },
    cancel() {
      cancelled = true;
    },
  });
  return {
    request: new Request('http://registry/', {
      method: 'PUT',
      body,
      headers: length === undefined ? {} : { 'Content-Length': String(length) },
    }),
    sent: () => sent,
    cancelled: () => cancelled,
  };
}

describe('the body of a refused request', () => {
  test('is read to its end', async () => {
    const { request, sent, cancelled } = bodyOf(64);
    await discardBody(request);
    expect([sent(), cancelled()]).toEqual([64, false]);
  });

  test.each([
    ['read, if its stated length allows it', 10 * MEBIBYTE, 10],
    ['left alone, if it is stated to be empty', 0, 0],
    ['left alone, if it is stated to be over the limit', 65 * MEBIBYTE, 0],
  ])('is %s', async (_what, length, read) => {
    const { request, sent } = bodyOf(10, length);
    await discardBody(request);
    expect(sent()).toBe(read);
  });

  test('is not read beyond 64 MiB', async () => {
    const { request, sent, cancelled } = bodyOf(100);
    await discardBody(request);
    expect(sent()).toBeLessThan(70);
    expect(cancelled()).toBe(true);
  });

  test('is left alone if somebody reads it, or if there is none', async () => {
    const { request, sent } = bodyOf(10);
    const reader = request.body!.getReader();
    await reader.read();
    const before = sent();
    await discardBody(request);
    await discardBody(new Request('http://registry/'));
    expect(sent() - before).toBeLessThan(2);
    await reader.cancel();
  });

  test('may break off', async () => {
    const body = new ReadableStream({
      type: 'bytes',
      pull(controller) {
        controller.error(new Error('the client went away'));
      },
    });
    await expect(discardBody(new Request('http://registry/', { method: 'PUT', body }))).resolves.toBeUndefined();
  });
});
