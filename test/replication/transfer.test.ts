/** Copying an object in parts, with buckets that answer at once, as simulators do that share the Worker's thread. */
import { expect, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import type { Progress } from '../../src/replication/queue-state.ts';
import { PART_BYTES, transfer, WHOLE_BYTES } from '../../src/replication/transfer.ts';
import { Bucket } from '../../src/stores/bucket.ts';

type Called = 'get' | 'uploadPart';

/** Returns a bucket of objects in memory, which never waits for input or output. */
function bucketInMemory(onCall: (call: Called) => void): { bucket: Bucket; objects: Map<string, Uint8Array> } {
  const objects = new Map<string, Uint8Array>();
  const parts: Uint8Array[] = [];
  const upload = (key: string) => ({
    key,
    uploadId: 'upload',
    uploadPart: async (partNumber: number, content: ReadableStream<Uint8Array>) => {
      onCall('uploadPart');
      parts[partNumber - 1] = new Uint8Array(await new Response(content).arrayBuffer());
      return { partNumber, etag: String(partNumber) };
    },
    complete: async () => {
      const whole = new Uint8Array(parts.reduce((total, { byteLength }) => total + byteLength, 0));
      parts.reduce((offset, part) => (whole.set(part, offset), offset + part.byteLength), 0);
      objects.set(key, whole);
    },
  });
  const r2 = {
    head: async (key: string) => (objects.has(key) ? {} : null),
    get: async (key: string, { range }: { range: { offset: number; length: number } }) => {
      onCall('get');
      const bytes = objects.get(key)?.subarray(range.offset, range.offset + range.length);
      return bytes === undefined ? null : { body: new Blob([bytes]).stream() };
    },
    createMultipartUpload: async (key: string) => upload(key),
    resumeMultipartUpload: (key: string) => upload(key),
  };
  return { bucket: new Bucket(r2 as unknown as R2Bucket), objects };
}

test('a copy in parts yields between any two parts, and while it is read back', async () => {
  const content = new Uint8Array(WHOLE_BYTES + PART_BYTES + 5).map((_, i) => i % 251);
  const turns = { asked: 0, had: 0 };
  const onCall = (): void => {
    // Everyone who waited before this call has had a turn by now.
    expect(turns.had).toBe(turns.asked);
  };
  const askForTurn = (): void => {
    turns.asked++;
    setTimeout(() => turns.had++);
  };
  const from = bucketInMemory(onCall);
  const to = bucketInMemory((call) => {
    if (call === 'get') onCall();
    askForTurn();
  });
  from.objects.set('object', content);
  const progress = new Map<string, Progress>();
  const key = await transfer(
    {
      name: 'up',
      from: from.bucket,
      key: 'object',
      to: to.bucket,
      digest: await digestOf('sha256', content),
      size: content.byteLength,
    },
    {
      progress: (name) => progress.get(name),
      setProgress: (name, kept) => void progress.set(name, kept),
      forgetProgress: (name) => void progress.delete(name),
    },
    () => true,
  );
  expect(to.objects.get(key)?.byteLength).toBe(content.byteLength);
  // Ten parts, and five reads of what was written.
  expect(turns).toEqual({ asked: 15, had: 15 });
});
