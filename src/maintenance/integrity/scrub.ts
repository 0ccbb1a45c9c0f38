/**
 * The scrub: reads every stored blob in rotation and compares it with its digest.
 *
 * The scrub has a budget of bytes a day, paid in time: the larger an object, the longer nothing else is read after it.
 * So one object may overdraw the budget, and the wait pays it back. An object is read whole through a native hash,
 * since a hash cannot be kept between runs. 5 GB take a minute or two of the 15 minutes that a cron trigger has.
 */
import { DAY, MINUTE } from '../../durations.ts';
import { logFailure } from '../../log.ts';
import { algorithmOf } from '../../oci/digest.ts';
import type { Damage } from '../../stores/blob-rows.ts';
import { Hash } from '../../stores/uploads/blob-writer.ts';
import { type Bucket, unavailable } from '../../stores/bucket.ts';
import { type Location, soundLocations } from './scrub-rows.ts';
import type { Store } from '../../stores/store.ts';
import type { MaintenanceContext } from '../context.ts';
import type { Slice, Task } from '../round.ts';
import { Stopped } from '../stopped.ts';
import { noteDamage } from './damage.ts';

const BLOBS_PER_PAGE = 100;

/** The least cost of an object, in bytes: reading many small objects is not free either. */
const LEAST_COST = 256 * 1024;

/** A larger object is paid for before it is read, so that a run killed while it reads has used the budget too. */
const LARGE_BYTES = 256 * 1024 * 1024;

/**
 * A larger object is not read, since that would not finish within a run. The comparison with the listing still notices
 * if it is missing.
 */
export const MAX_SCRUB_BYTES = 32 * 1024 ** 3;

/** After this many runs were killed or failed at an object, it is skipped until the next round. */
const MAX_ATTEMPTS = 3;

/** How long unused budget can be saved up. */
const BURST_MILLISECONDS = 10 * MINUTE;

/**
 * The start of the next slice: after which blob, and how often the next blob has failed. Saved as `<digest>
 * <attempts>`.
 */
interface Position {
  readonly after: string;
  readonly attempts: number;
}

/** Reads blobs for as long as the budget lasts. `next_at` is the time up to which the budget is used. */
export const scrub: Task = {
  name: 'scrub',
  at: 'every store',
  every: () => DAY,
  async slice(context, store, { position, next_at: paid }, save) {
    const { now, mayGoOn, scrubBytesPerDay } = context;
    if (scrubBytesPerDay === 0) return undefined;
    let { after, attempts } = positionIn(position);
    let paidUntil = Math.max(paid, now() - BURST_MILLISECONDS);
    let counts = NOTHING_READ;
    const here = (): Slice => ({ position: formatPosition({ after, attempts }), notBefore: paidUntil, counts });
    const saveHere = async (): Promise<void> => {
      await save(here());
      counts = NOTHING_READ;
    };
    for (;;) {
      const page = await soundLocations(store.database, store.name, after, BLOBS_PER_PAGE);
      if (page.length === 0) return { ...here(), position: undefined };
      for (const blob of page) {
        if (paidUntil > now() || !mayGoOn()) return here();
        if (blob.size > MAX_SCRUB_BYTES || attempts >= MAX_ATTEMPTS) {
          logFailure({ unscrubbed: blob.digest, store: store.name, key: blob.key, attempts });
          counts = { ...counts, scrub_skipped: counts.scrub_skipped + 1 };
        } else {
          paidUntil += (Math.max(blob.size, LEAST_COST) / scrubBytesPerDay) * DAY;
          attempts++;
          if (blob.size > LARGE_BYTES) await saveHere();
          try {
            await check(context, store, blob);
          } catch (error) {
            await saveHere();
            throw new Stopped(`${blob.digest} cannot be read: ${String(error)}`);
          }
          const { scrubbed_objects: objects, scrubbed_bytes: bytes } = counts;
          counts = { ...counts, scrubbed_objects: objects + 1, scrubbed_bytes: bytes + blob.size };
        }
        after = blob.digest;
        attempts = 0;
      }
    }
  },
};

const NOTHING_READ = { scrubbed_objects: 0, scrubbed_bytes: 0, scrub_skipped: 0 };

async function check(context: MaintenanceContext, store: Store, blob: Location): Promise<void> {
  const damage = await damageOf(store.bucket, blob);
  if (damage !== undefined) await noteDamage(context, store, blob, damage);
}

/** @throws OciError UNAVAILABLE if the object cannot be read now, which does not tell whether it is damaged */
async function damageOf(bucket: Bucket, { digest, key }: Location): Promise<Damage | undefined> {
  // Reads twice, since the first read may have been corrupted in transit.
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
