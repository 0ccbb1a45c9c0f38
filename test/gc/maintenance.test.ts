import { expect, test } from 'vitest';
import { parseConfig } from '../../src/config.ts';
import { env } from 'cloudflare:workers';
import { maintain } from '../../src/gc/maintenance.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { SESSION_MILLISECONDS } from '../../src/stores/upload-reference.ts';
import { bodyOf, bytesOf, granted, objectKeys, openFixture, REPOSITORY, rowsOf, session, SUBJECT } from '../support/fixture.ts';

test('expired sessions go with their objects; blobs and younger sessions stay', async () => {
  const fixture = await openFixture({ now: Date.UTC(2026, 0, 1) });
  const upload = async (seed: number) => {
    const open = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
    return fixture.registry.appendChunk(session(open), undefined, bodyOf(bytesOf(seed, 100)));
  };
  await upload(1);
  const finished = await upload(2);
  const digest = await digestOf('sha256', bytesOf(2, 100));
  await fixture.registry.finishUpload(session(finished), digest, undefined, undefined);
  const cancelled = await upload(3);
  await fixture.registry.cancelUpload(session(cancelled));
  await fixture.settled();
  fixture.now += 3_600_000;
  const younger = await upload(4);
  expect(await objectKeys()).toHaveLength(3);

  const config = parseConfig(env);
  const run = (now: number) => maintain(config, env, now);
  const end = fixture.now - 3_600_000 + SESSION_MILLISECONDS;
  expect(await run(end - 1)).toMatchObject({ expiredUploads: 0, feedEntries: 0 });
  expect(await run(end)).toMatchObject({ expiredUploads: 3, feedEntries: 0 });
  expect(await objectKeys()).toHaveLength(2);
  expect(await rowsOf('SELECT state FROM uploads')).toEqual([{ state: 'open' }]);
  expect((await fixture.registry.getBlob(granted(), digest)).size).toBe(100);
  expect((await fixture.registry.uploadProgress(session(younger))).size).toBe(100);

  fixture.now += SESSION_MILLISECONDS;
  await expect(fixture.registry.uploadProgress(session(younger))).rejects.toMatchObject({ kind: 'UPLOAD_UNKNOWN' });
});

test('whoever finishes a session while it is being removed is told that it is gone, and gets no blob without bytes', async () => {
  const fixture = await openFixture({ now: Date.UTC(2026, 0, 1) });
  const open = await fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
  const progress = await fixture.registry.appendChunk(session(open), undefined, bodyOf(bytesOf(1, 100)));
  const config = parseConfig(env);
  // Another algorithm than it was hashed with: the bytes are read back, and the session expires meanwhile.
  const digest = await digestOf('sha512', bytesOf(1, 100));
  const slow: R2Bucket = new Proxy(env.BLOBS_CENTRAL, {
    get: (bucket, name) =>
      name === 'get'
        ? async (key: string) => {
            const object = await bucket.get(key);
            const later = Date.UTC(2026, 0, 3);
            await maintain(config, env, later);
            return object;
          }
        : (Reflect.get(bucket, name) as () => unknown).bind(bucket),
  });
  const finishing = await fixture.fresh({ bucket: slow });
  await expect(finishing.registry.finishUpload(session(progress), digest, undefined, undefined)).rejects.toMatchObject({
    kind: expect.stringMatching(/UPLOAD_UNKNOWN|CHUNK_OUT_OF_ORDER/) as string,
  });
  expect(await rowsOf('SELECT digest FROM locations')).toEqual([]);
});
