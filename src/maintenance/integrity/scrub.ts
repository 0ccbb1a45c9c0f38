/**
 * The scrub: reads every stored blob in rotation and compares it with its digest.
 *
 * The scrub has a budget of bytes a day, paid in time: the larger a part, the longer nothing else is read after it. So
 * one part may overdraw the budget, and the wait pays it back. Hashing costs CPU, so a run of all stores together also
 * has an allowance (`hashing-allowance.ts`). A large object is read in parts, over as many runs as it takes: the
 * position keeps the state of its hash.
 */
import { DAY, HOUR } from '../../durations.ts';
import { logFailure } from '../../log.ts';
import { algorithmOf } from '../../oci/digest.ts';
import type { Store } from '../../stores/store.ts';
import type { MaintenanceContext } from '../context.ts';
import type { Slice, Task } from '../round.ts';
import { Stopped } from '../stopped.ts';
import { noteDamage } from './damage.ts';
import { LEAST_COST } from './hashing-allowance.ts';
import { type Reading, readPart } from './read-part.ts';
import { type Location, soundLocations } from './scrub-rows.ts';

const BLOBS_PER_PAGE = 100;

/** After this many runs were killed or failed at one part of an object, the object is skipped until the next round. */
const MAX_ATTEMPTS = 3;

/** The time for which unused budget is saved up: until the next run, even if one was missed. */
const BURST_MILLISECONDS = 2 * HOUR;

/** The start of the next slice, as JSON. */
interface Position {
  /** The blob after which the next one comes, by digest. */
  readonly after: string;
  /** The number of times that the next part has failed. */
  readonly attempts: number;
  /** The object that is read next, if a part of it has been read. */
  readonly reading?: Reading | undefined;
}

const START: Position = { after: '', attempts: 0 };

/** Reads a saved position. One in another format, such as an older one, begins the round again. */
function positionOf(text: string): Position {
  return text.startsWith('{"after":') ? (JSON.parse(text) as Position) : START;
}

const NOTHING_READ = { scrubbed_objects: 0, scrubbed_bytes: 0, scrub_skipped: 0 };

/** Reads blobs for as long as the budget lasts. `next_at` is the time up to which the budget is used. */
export const scrub: Task = {
  name: 'scrub',
  at: 'every store',
  every: () => DAY,
  async slice(context, store, { position, next_at: paid }, save) {
    const { now, mayGoOn, hashing, scrubBytesPerDay } = context;
    if (scrubBytesPerDay === 0) return undefined;
    let at = positionOf(position);
    let paidUntil = Math.max(paid, now() - BURST_MILLISECONDS);
    let counts = NOTHING_READ;
    let unsavedCost = 0;
    const here = (): Slice => ({ position: JSON.stringify(at), notBefore: paidUntil, counts });
    const saveHere = async (): Promise<void> => {
      await save(here());
      counts = NOTHING_READ;
      unsavedCost = 0;
    };
    for (;;) {
      const page = await soundLocations(store.database, store.name, at.after, BLOBS_PER_PAGE);
      if (page.length === 0) return { ...here(), position: undefined };
      for (const blob of page) {
        let reading = at.reading?.key === blob.key ? at.reading : undefined;
        do {
          if (at.attempts >= MAX_ATTEMPTS) {
            logFailure({ unscrubbed: blob.digest, store: store.name, key: blob.key, attempts: at.attempts });
            counts = { ...counts, scrub_skipped: counts.scrub_skipped + 1 };
            break;
          }
          const bytes = Math.max(0, Math.min(hashing.partBytes, blob.size - (reading?.offset ?? 0)));
          const cost = Math.max(bytes, LEAST_COST);
          if (paidUntil > now() || !mayGoOn() || !hashing.take(cost, algorithmOf(blob.digest)))
            return { ...here(), isLast: true };
          const isLarge = blob.size > hashing.partBytes;
          if (!isLarge && unsavedCost + cost > hashing.partBytes) await saveHere();
          paidUntil += (cost / scrubBytesPerDay) * DAY;
          at = { after: at.after, attempts: at.attempts + 1, reading: at.reading };
          // A run that is killed while it reads a large object has used the budget, and has failed once.
          if (isLarge) await saveHere();
          unsavedCost += cost;
          try {
            reading = await check(context, store, blob, reading);
          } catch (error) {
            await saveHere();
            throw new Stopped(`${blob.digest} cannot be read: ${String(error)}`);
          }
          counts = { ...counts, scrubbed_bytes: counts.scrubbed_bytes + bytes };
          if (reading === undefined) counts = { ...counts, scrubbed_objects: counts.scrubbed_objects + 1 };
          else at = { after: justBefore(blob), attempts: 0, reading };
        } while (reading !== undefined);
        at = { after: blob.digest, attempts: 0 };
      }
    }
  },
};

/** Reads the next part of a blob. Returns how to go on; undefined at the end, when any damage has been noted. */
async function check(
  context: MaintenanceContext,
  store: Store,
  blob: Location,
  reading: Reading | undefined,
): Promise<Reading | undefined> {
  const read = await readPart(store.bucket, blob, reading, context.hashing.partBytes);
  if (typeof read === 'object') return read;
  if (read !== 'sound') await noteDamage(context, store, [blob], read);
  return undefined;
}

/**
 * Returns a text that sorts just before the blob, so that it comes next even if a blob before it is pushed meanwhile.
 */
function justBefore({ digest }: Location): string {
  return digest.slice(0, -1);
}
