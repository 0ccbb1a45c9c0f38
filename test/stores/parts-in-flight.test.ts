/** Parts wait for each other, but never for ever, because a buffer is on loan meanwhile. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { CHANGE_MILLISECONDS } from '../../src/stores/bucket.ts';
import { PARTS_AT_ONCE, PartsInFlight } from '../../src/stores/parts-in-flight.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] }));
afterEach(() => void vi.useRealTimers());

test('a part that has waited a minute for earlier ones fails', async () => {
  const parts = new PartsInFlight({ uploadPart: () => new Promise(() => undefined) });
  for (let i = 0; i < PARTS_AT_ONCE; i++) await parts.start(1);
  const waiting = expect(parts.start(1)).rejects.toMatchObject({ kind: 'UNAVAILABLE' });
  await vi.advanceTimersByTimeAsync(CHANGE_MILLISECONDS);
  await waiting;
});
