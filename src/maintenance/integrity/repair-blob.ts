/**
 * Repairs blobs: finds their bytes, checks the digest, and points the store's location at them.
 *
 * The bytes come from an orphan in the store's own bucket if one has them, and otherwise from any store whose own rows
 * say that it has the blob. Nothing is overwritten: a copy has a new key, the location is compared and set, and the
 * object that it pointed at before becomes an orphan.
 */
import { logFailure, logLine } from '../../log.ts';
import { type Algorithm, algorithmOf, type Digest } from '../../oci/digest.ts';
import { OutOfTime, PermanentError } from '../../replication/machine.ts';
import type { Progress } from '../../replication/queue-state.ts';
import { Gone, type ProgressKeeper, transfer } from '../../replication/transfer.ts';
import { type Damage, leaseTimes, localLocation } from '../../stores/blob-rows.ts';
import { adoptOrphan, type Candidate, candidates, setOrphanDigest } from './orphan-rows.ts';
import { repairProgress, saveRepairProgress } from './repair-rows.ts';
import { addWantedLocation, type Location, repairLocation, soundAmong } from './scrub-rows.ts';
import { OutOfStatements } from '../../stores/statement-meter.ts';
import type { Store } from '../../stores/store.ts';
import type { MaintenanceContext } from '../context.ts';
import { noteDamage } from './damage.ts';
import { LEAST_COST } from './hashing-allowance.ts';
import { type Hashing, hashPart } from './read-part.ts';

/** A blob whose bytes a store lacks. */
interface Lacking {
  readonly digest: Digest;
  /** Bytes; 0 if unknown. */
  readonly size: number;
  /** Its damaged location; undefined if the store has no location. */
  readonly damaged: { readonly key: string; readonly damage: Damage } | undefined;
}

/** Orphans in one page. For a blob of unknown size, only the first page is hashed. */
const CANDIDATES = 1000;

/**
 * Repairs blobs one after another until the run may do no more, and yields each that was tried. A failure of one blob
 * does not stop the others.
 */
export async function* repairBlobs(
  context: MaintenanceContext,
  store: Store,
  blobs: readonly Lacking[],
): AsyncGenerator<{ readonly digest: Digest; readonly isRepaired: boolean }> {
  const elsewhere = await locationsElsewhere(
    context,
    store,
    blobs.map(({ digest }) => digest),
  );
  for (const blob of blobs) {
    if (!context.mayGoOn()) return;
    let isRepaired = false;
    try {
      isRepaired =
        (await repairByItself(context, store, blob)) ||
        (await repairByOrphan(context, store, blob)) ||
        (await repairByCopy(context, store, blob, elsewhere.get(blob.digest) ?? []));
      if (isRepaired) logLine({ repaired: blob.digest, store: store.name });
    } catch (error) {
      if (error instanceof OutOfTime) return;
      if (error instanceof OutOfStatements) throw error;
      logFailure({ unrepaired: blob.digest, store: store.name, error: String(error) });
    }
    yield { digest: blob.digest, isRepaired };
  }
}

/** Repairs a blob whose missing object has been put back under its key. */
async function repairByItself(
  context: MaintenanceContext,
  store: Store,
  { digest, size, damaged }: Lacking,
): Promise<boolean> {
  if (damaged?.damage !== 'missing') return false;
  const { key } = damaged;
  if (!(await store.bucket.exists(key))) return false;
  if ((await digestOfObject(context, store, { key, size }, algorithmOf(digest))) !== digest) return false;
  const { repaired } = await store.database.batch({ repaired: repairLocation(digest, store.name, key, { key, size }) });
  return repaired.length > 0;
}

/** Looks for the blob among orphans of its size. Each orphan is hashed once, and its digest saved. */
async function repairByOrphan(
  context: MaintenanceContext,
  store: Store,
  { digest, size, damaged }: Lacking,
): Promise<boolean> {
  const algorithm = algorithmOf(digest);
  for (let last: Candidate | undefined; ;) {
    const page = await candidates(store.database, size, last, CANDIDATES);
    for (const orphan of page) {
      if (!context.mayGoOn()) throw new OutOfTime('the next run hashes the remaining orphans');
      const actual = orphan[algorithm] ?? (await hashOrphan(context, store, orphan, algorithm));
      if (actual !== digest) continue;
      const { now, until } = leaseTimes(context.now(), context.graceMilliseconds);
      if (await adoptOrphan(store, digest, damaged?.key, orphan.key, now, until)) return true;
    }
    last = page.at(-1);
    if (page.length < CANDIDATES || size === 0) return false;
  }
}

async function hashOrphan(
  context: MaintenanceContext,
  store: Store,
  orphan: Candidate,
  algorithm: Algorithm,
): Promise<Digest | undefined> {
  const actual = await digestOfObject(context, store, orphan, algorithm);
  if (actual !== undefined) await store.database.batch([setOrphanDigest(orphan.key, algorithm, actual)]);
  return actual;
}

/**
 * Hashes an object, in parts if it is large: a run has an allowance, because hashing costs CPU.
 * @returns undefined if the object is gone
 * @throws OutOfTime if the next run has to go on
 */
async function digestOfObject(
  { hashing, mayGoOn }: MaintenanceContext,
  { bucket, database }: Store,
  object: { readonly key: string; readonly size: number },
  algorithm: Algorithm,
): Promise<Digest | undefined> {
  const saved = object.size > hashing.partBytes ? await repairProgress(database, object.key) : undefined;
  let begun = saved === undefined ? undefined : (JSON.parse(saved) as Hashing);
  for (;;) {
    const cost = Math.max(LEAST_COST, Math.min(hashing.partBytes, object.size - (begun?.offset ?? 0)));
    if (!mayGoOn() || !hashing.take(cost, algorithm)) throw new OutOfTime('the next run goes on hashing');
    const read = await hashPart(bucket, object, algorithm, begun, hashing.partBytes);
    if (read === undefined || 'digest' in read) {
      if (begun !== undefined) await saveRepairProgress(database, object.key, undefined);
      return read?.digest;
    }
    begun = read;
    await saveRepairProgress(database, object.key, JSON.stringify(begun));
  }
}

type Source = Location & { readonly store: Store };

/** Returns the locations that other stores have of the blobs, by their own rows. Skips stores that do not answer. */
async function locationsElsewhere(
  { central, nodes }: MaintenanceContext,
  store: Store,
  digests: readonly Digest[],
): Promise<ReadonlyMap<Digest, readonly Source[]>> {
  const others = [central, ...nodes].filter(({ name }) => name !== store.name);
  const answers = await Promise.all(
    others.map(async (other) => {
      const found = await soundAmong(other.database, other.name, digests).catch((error: unknown) => {
        if (error instanceof OutOfStatements) throw error;
        return [];
      });
      return found.map(({ digest, key, size }): Source => ({ digest, key, size, store: other }));
    }),
  );
  return Map.groupBy(answers.flat(), ({ digest }) => digest);
}

async function repairByCopy(
  context: MaintenanceContext,
  store: Store,
  { digest, damaged }: Lacking,
  sources: readonly Source[],
): Promise<boolean> {
  let failure: unknown;
  for (const source of sources) {
    try {
      return await copyFrom(context, store, digest, damaged?.key, source);
    } catch (error) {
      if (error instanceof OutOfTime || error instanceof OutOfStatements) throw error;
      if (error instanceof PermanentError) await noteDamage(context, source.store, [source], 'wrong bytes');
      else if (error instanceof Gone) await noteDamage(context, source.store, [source], 'missing');
      failure = error;
    }
  }
  if (failure !== undefined) throw failure;
  return false;
}

async function copyFrom(
  context: MaintenanceContext,
  store: Store,
  digest: Digest,
  damaged: string | undefined,
  { store: from, key, size }: Source,
): Promise<boolean> {
  const { name, database, bucket } = store;
  const keeper = new Keeper(await repairProgress(database, digest));
  try {
    const copy = await transfer(
      { name: digest, from: from.bucket, key, to: bucket, digest, size },
      keeper,
      context.mayGoOn,
    );
    const { now, until } = leaseTimes(context.now(), context.graceMilliseconds);
    // Forgets the copy before a row names it: once that row and its object are collected, no later attempt may name it.
    if (keeper.saved) await saveRepairProgress(database, digest, undefined);
    keeper.forgetProgress();
    // If this batch fails, it may still have been applied. So the object stays, and may be found as an orphan.
    const { taken } = await database.batch({
      taken:
        damaged === undefined
          ? addWantedLocation({ digest, key: copy, size }, name, now, until)
          : repairLocation(digest, name, damaged, { key: copy, size }),
    });
    const took = taken.length > 0;
    // If the row was not taken, another run has repaired the blob, maybe with this same object, or no one needs it.
    const inUse = took ? copy : (await localLocation(database, digest, name))?.key;
    if (inUse !== copy) await bucket.delete([copy]);
    return took;
  } finally {
    if (keeper.changed) await saveRepairProgress(database, digest, keeper.text());
  }
}

/**
 * Keeps the progress of a copy. A killed run does not save it, and leaves an object without a row, or a multipart
 * upload that R2 aborts in time.
 */
class Keeper implements ProgressKeeper {
  readonly #saved: string | undefined;
  #progress: Progress | undefined;

  constructor(saved: string | undefined) {
    this.#saved = saved;
    this.#progress = saved === undefined ? undefined : (JSON.parse(saved) as Progress);
  }

  /** Whether an earlier run has saved progress. */
  get saved(): boolean {
    return this.#saved !== undefined;
  }

  get changed(): boolean {
    return this.text() !== this.#saved;
  }

  text(): string | undefined {
    return this.#progress && JSON.stringify(this.#progress);
  }

  progress(): Progress | undefined {
    return this.#progress;
  }

  setProgress(_copy: string, progress: Progress): void {
    this.#progress = progress;
  }

  forgetProgress(): void {
    this.#progress = undefined;
  }
}
