/** Sessions that have ended leave no rows for long, and all rows of uploads count against a limit. */
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { HOUR } from '../../../src/durations.ts';
import { expiredUploads } from '../../../src/maintenance/expired-uploads.ts';
import { goRound } from '../../../src/maintenance/round.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { MAX_UPLOAD_ROWS } from '../../../src/stores/organizations/limits.ts';
import { openStore } from '../../../src/stores/store.ts';
import {
  bodyOf,
  bytesOf,
  type Fixture,
  openFixture,
  REPOSITORY,
  rowsOf,
  session,
  SUBJECT,
  unreferencedObjects,
} from '../../support/fixture.ts';
import { openRun } from '../../support/maintenance.ts';

const UNKNOWN = { kind: 'UPLOAD_UNKNOWN' };

let fixture: Fixture;

beforeEach(async () => {
  fixture = await openFixture({ now: Date.UTC(2026, 0, 1) });
});

async function removeDue(now = fixture.now): Promise<void> {
  const central = openStore('central', env.DB_CENTRAL, env.BLOBS_CENTRAL);
  await goRound(openRun({ central, nodes: [], now: () => now }), expiredUploads, central);
}

const open = () => fixture.registry.openUpload(REPOSITORY, SUBJECT, 'sha256');
const countOf = async (): Promise<unknown> => (await rowsOf('SELECT upload_rows FROM usage'))[0];

test('an attacker who opens and ends sessions all day leaves the rows of three hours', async () => {
  const content = bytesOf(1, 100);
  const digest = await digestOf('sha256', content);
  let last = await open();
  for (let hour = 0; hour < 5; hour++) {
    for (let i = 0; i < 2; i++) {
      const { registry } = fixture;
      await registry.cancelUpload(session(await open()));
      await registry.cancelUpload(session(await registry.appendChunk(session(await open()), 0, bodyOf(content))));
      last = await registry.appendChunk(session(await open()), 0, bodyOf(content));
      await registry.finishUpload(session(last), digest, undefined, undefined);
      await registry.finishUpload(session(await open()), digest, undefined, bodyOf(content));
    }
    await fixture.settled();
    await removeDue();
    fixture.now += HOUR;
  }
  const rows = await rowsOf('SELECT state FROM uploads');
  expect(rows.length).toBeLessThanOrEqual(3 * 6);
  expect(await countOf()).toEqual({ upload_rows: rows.length });
  fixture.now += 3 * HOUR;
  await removeDue();
  expect(await rowsOf('SELECT state FROM uploads')).toEqual([]);
  expect(await countOf()).toEqual({ upload_rows: 0 });
  // The session that has no row any more has ended, and a PUT that is repeated succeeds.
  const { registry } = fixture;
  await registry.finishUpload(session(last), digest, undefined, undefined);
  await expect(
    registry.finishUpload(session(last), await digestOf('sha256', bytesOf(2, 5)), undefined, undefined),
  ).rejects.toMatchObject(UNKNOWN);
  await expect(registry.appendChunk(session(last), undefined, bodyOf(content))).rejects.toMatchObject(UNKNOWN);
  await expect(registry.uploadProgress(session(last))).rejects.toMatchObject(UNKNOWN);
  await expect(registry.cancelUpload(session(last))).rejects.toMatchObject(UNKNOWN);
  expect(await rowsOf('SELECT state FROM uploads')).toEqual([]);
  await fixture.settled();
  expect(await unreferencedObjects()).toEqual([]);
});

test('a session must begin within two hours; one that has begun lasts longer', async () => {
  const [late, begun] = [await open(), await open()];
  const content = bytesOf(1, 100);
  await fixture.registry.appendChunk(session(begun), 0, bodyOf(content));
  fixture.now += 2 * HOUR;
  await removeDue(fixture.now + HOUR);
  const { registry } = fixture;
  await expect(registry.appendChunk(session(late), 0, bodyOf(content))).rejects.toMatchObject(UNKNOWN);
  await expect(registry.uploadProgress(session(late))).rejects.toMatchObject(UNKNOWN);
  expect(await registry.uploadProgress(session(begun))).toMatchObject({ size: 100 });
});

test('sessions and chunks beyond the limit are refused, and a cancelled session gets no row', async () => {
  const { registry } = fixture;
  const begun = await registry.appendChunk(session(await open()), undefined, bodyOf(bytesOf(1, 100)));
  const next = await registry.appendChunk(session(begun), undefined, bodyOf(bytesOf(2, 100)));
  expect(await countOf()).toEqual({ upload_rows: 2 });
  await env.DB_CENTRAL.prepare('UPDATE usage SET upload_rows = ?1').bind(MAX_UPLOAD_ROWS).run();
  const fresh = await open();
  for (const refused of [fresh, next]) {
    await expect(registry.appendChunk(session(refused), undefined, bodyOf(bytesOf(3, 100)))).rejects.toMatchObject({
      kind: 'QUOTA_EXCEEDED',
    });
  }
  await registry.cancelUpload(session(fresh));
  expect(await rowsOf('SELECT state FROM uploads')).toHaveLength(1);
  await registry.cancelUpload(session(next));
  await fixture.settled();
  expect(await unreferencedObjects()).toEqual([]);
});
