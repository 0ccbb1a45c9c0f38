/**
 * The scrub: reads every blob at rest, in rotation, and compares it with its digest.
 *
 * It has a budget of bytes a day, paid in time: what an object costs is how long nothing else is read after it. So the
 * budget may be overdrawn by one object, and is then paid back. An object is read whole, through a native hash, since a
 * hash cannot be kept between runs: 5 GB take a minute or two, of the 15 that a cron trigger has.
 */
import { logFailure } from '../../log.ts';
import { algorithmOf } from '../../oci/digest.ts';
import type { Damage } from '../../stores/blob-rows.ts';
import { Hash } from '../../stores/uploads/blob-writer.ts';
import { type Bucket, unavailable } from '../../stores/bucket.ts';
import { countMaintenance, saveTask } from '../task-rows.ts';
import { type Location, soundLocations } from './scrub-rows.ts';
import type { Store } from '../../stores/store.ts';
import type { GcContext } from '../context.ts';
import { noteDamage } from './damage.ts';
import { afterSlice, DAY, dueTask, MINUTE } from '../slices.ts';

const TASK = 'scrub';

const BLOBS_PER_PAGE = 100;

/** What an object costs at least, in bytes: reading many small ones is not free either. */
const LEAST_COST = 256 * 1024;

/** Above, an object is paid for before it is read: a run that is killed meanwhile has used the budget as well. */
const LARGE_BYTES = 256 * 1024 * 1024;

/** Above, an object is not read: it would not end within a run. The comparison with the listing still misses it if it is gone. */
export const MAX_SCRUB_BYTES = 32 * 1024 ** 3;

/** After as many runs that were killed or failed at an object, it is passed over until the next round. */
const MAX_ATTEMPTS = 3;

/** Budget that no run has used is good for so long. */
const BURST_MILLISECONDS = 10 * MINUTE;

/** Where the next slice starts, as `<digest> <attempts>`: after which blob, and how often the next one has failed. */
interface Position {
  readonly after: string;
  readonly attempts: number;
}

/**
 * Reads blobs of a store for as long as its budget lasts.
 * @param bytesPerDay 0 for not at all
 */
export async function scrub(context: GcContext, store: Store, bytesPerDay: number): Promise<void> {
  const { now, mayGoOn } = context;
  const task = bytesPerDay === 0 ? undefined : await dueTask(store.database, TASK, now());
  if (task === undefined) return;
  let { after, attempts } = positionIn(task.position);
  let paidUntil = Math.max(task.next_at, now() - BURST_MILLISECONDS);
  const done = { objects: 0, bytes: 0, skipped: 0 };
  const save = async (position: string, nextAt: number, stopped?: string): Promise<void> => {
    const next = { position, nextAt, ...(stopped === undefined ? {} : { stopped }) };
    await store.database.batch([
      saveTask(afterSlice(task, now(), next)),
      ...Object.entries({
        scrubbed_objects: done.objects,
        scrubbed_bytes: done.bytes,
        scrub_skipped: done.skipped,
      }).flatMap(([name, by]) => (by === 0 ? [] : [countMaintenance(name, by)])),
    ]);
    Object.assign(done, { objects: 0, bytes: 0, skipped: 0 });
  };
  for (;;) {
    const page = await soundLocations(store.database, store.name, after, BLOBS_PER_PAGE);
    if (page.length === 0) return save('', Math.max(paidUntil, task.round_started_at + DAY));
    for (const blob of page) {
      if (paidUntil > now() || !mayGoOn()) return save(formatPosition({ after, attempts }), paidUntil);
      if (blob.size > MAX_SCRUB_BYTES || attempts >= MAX_ATTEMPTS) {
        logFailure({ unscrubbed: blob.digest, store: store.name, key: blob.key, attempts });
        done.skipped++;
      } else {
        paidUntil += (Math.max(blob.size, LEAST_COST) / bytesPerDay) * DAY;
        if (blob.size > LARGE_BYTES) await save(formatPosition({ after, attempts: attempts + 1 }), paidUntil);
        try {
          await check(context, store, blob);
        } catch (error) {
          return save(
            formatPosition({ after, attempts: attempts + 1 }),
            paidUntil,
            `${blob.digest} cannot be read: ${String(error)}`,
          );
        }
        done.objects++;
        done.bytes += blob.size;
      }
      after = blob.digest;
      attempts = 0;
    }
  }
}

async function check(context: GcContext, store: Store, blob: Location): Promise<void> {
  const damage = await damageOf(store.bucket, blob);
  if (damage !== undefined) await noteDamage(context, store, blob, damage);
}

/** @throws OciError UNAVAILABLE where the object cannot be read now, which says nothing of it */
async function damageOf(bucket: Bucket, { digest, key }: Location): Promise<Damage | undefined> {
  // Twice: what is wrong once may have been so on its way.
  for (const attempt of ['first', 'second']) {
    const content = await bucket.get(key);
    if (content === undefined) return 'missing';
    const actual = await Hash.of(algorithmOf(digest), content).catch((cause: unknown) => {
      throw unavailable(cause);
    });
    if (actual === digest) return undefined;
    if (attempt === 'second') logFailure({ damaged: digest, key, actual });
  }
  return 'wrong bytes';
}

function positionIn(position: string): Position {
  const [after = '', attempts = '0'] = position.split(' ');
  return { after, attempts: Number(attempts) };
}

function formatPosition({ after, attempts }: Position): string {
  return `${after} ${attempts}`;
}
