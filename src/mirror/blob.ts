/**
 * The Durable Object of one blob of a mirror's repository, while it comes from the upstream into the namespace's store.
 * The upstream sends it once to many clients, even if some of them go away.
 *
 * The first question starts the fetch. A killed run leaves its alarm and its parts, and the alarm goes on with the
 * fetch. Storage is emptied at the end of the fetch.
 */
import { DurableObject } from 'cloudflare:workers';
import { type Config, parseConfig } from '../config.ts';
import { HOUR, MINUTE } from '../durations.ts';
import { MAX_ATTEMPTS, mayPass, reasonOf } from '../upstream/failure.ts';
import { logFailure } from '../log.ts';
import { ContentError } from '../oci-client/content-error.ts';
import { OciError } from '../oci/errors.ts';
import { organizationOf } from '../oci/reference.ts';
import { ifKnown } from '../registry/answers.ts';
import { composeMirrorList, composeStore } from '../registry/compose.ts';
import type { OpenedBlob } from '../registry/mirrored/upstreams.ts';
import type { Registry, StoredBlob } from '../registry/registry.ts';
import { MAX_OBJECT_BYTES } from '../stores/bucket.ts';
import { StatementMeter } from '../stores/statement-meter.ts';
import { isolateBudget } from '../stores/uploads/buffer-budget.ts';
import type { BlobWanted } from './answers.ts';
import { registryBeneath } from './beneath.ts';
import { bringBlob } from './blob-fetch.ts';
import { BlobSource } from './blob-source.ts';
import { Handout, PART_BYTES } from './handout.ts';
import type { Kept } from './kept-fetch.ts';
import { ObjectParts } from './object-parts.ts';
import { concernsUpstream, Pause } from './pause.ts';
import { isAbsence } from './reach-upstream.ts';
import { orAfter } from './waiting.ts';

/** Some bytes of a blob: from `start` to before `end`. */
interface Range {
  readonly start: number;
  readonly end: number;
}

/** The end of a fetch. `failed` is a reason for operators; `mayPass` tells whether another attempt may succeed. */
type Ended = 'stored' | 'absent' | { readonly failed: string; readonly mayPass: boolean };

/** The longest that one call waits for the end of a fetch. */
const ENSURE_MILLISECONDS = 20_000;
/** The time after which the alarm joins a fetch that a request has started. */
const FIRST_ALARM_MILLISECONDS = 10_000;
/** The longest that an invocation of the alarm waits for a fetch. Cloudflare allows 15 minutes. */
const ALARM_MILLISECONDS = 5 * MINUTE;
/** The longest that readers get parts after the end of a fetch. */
const READ_MILLISECONDS = HOUR;

/** A fetch that is under way, or whose parts are still read. */
interface Fetch {
  readonly handout: Handout;
  readonly ended: Promise<Ended>;
  /** Whether only readers of its parts keep it. */
  isOver: boolean;
}

export class MirrorBlob extends DurableObject<Env> {
  readonly #config: Config;
  readonly #source: BlobSource;
  readonly #pause = new Pause();
  #registry: Promise<Registry> | undefined;
  #cleaning: Promise<void> | undefined;
  /** The time until which readers of an ended fetch get parts, in milliseconds since the epoch. */
  #readUntil = 0;
  #starting: Promise<Fetch | undefined> | undefined;
  /** The question for the size that is under way. */
  #sizing: Promise<number | undefined> | undefined;
  #fetch: Fetch | undefined;
  /** Whether this instance has stored the blob. */
  #hasStored = false;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#config = parseConfig(env);
    this.#source = new BlobSource(env, this.#config);
  }

  /**
   * Returns the size of the blob in bytes; undefined if the upstream has none, or does not show it.
   * @throws Error with a reason for operators
   */
  size(wanted: BlobWanted): Promise<number | undefined> {
    return orReason(wanted, () => this.#size(wanted));
  }

  /**
   * Opens the bytes, or a range of them, while they arrive. Streams to the end of a wrong blob are broken.
   * @returns undefined if the upstream has no such blob, or does not show it
   * @throws Error with a reason for operators
   */
  open(wanted: BlobWanted, range?: Range): Promise<OpenedBlob | undefined> {
    return orReason(wanted, () => this.#open(wanted, range));
  }

  /** Waits until the blob is stored. A caller that gets `fetching` asks again. */
  async ensure(wanted: BlobWanted): Promise<Ended | 'fetching'> {
    try {
      if (this.#fetch === undefined && (await this.#stored(wanted)) !== undefined) return 'stored';
      const { ended } = (await this.#fetchOf(wanted)) ?? {};
      return ended === undefined ? 'absent' : await orAfter(ENSURE_MILLISECONDS, ended, 'fetching' as const);
    } catch (error) {
      // During a pause, the error is that of the pause.
      const isTransient = this.#pause.isOn ? this.#pause.mayPass : mayPass(error);
      return { failed: reasonOf(error, wanted.mirror.credential), mayPass: isTransient };
    }
  }

  override async alarm(): Promise<void> {
    let next = 0;
    try {
      await this.#goOn();
    } catch (error) {
      logFailure({ mirror: this.#kept?.wanted.repository, error: String(error) });
      next = Date.now() + MINUTE;
    }
    const kept = this.#kept;
    if (kept === undefined) return;
    if (kept.isOver || this.#fetch?.isOver === true) next = Date.now() + MINUTE;
    await this.ctx.storage.setAlarm(Math.max(Date.now(), this.#pause.until, next));
  }

  async #goOn(): Promise<void> {
    const [fetch, kept] = [this.#fetch, this.#kept];
    if (fetch?.isOver === true) {
      if (fetch.handout.needsParts && Date.now() < this.#readUntil) return;
      this.#fetch = undefined;
    }
    if (kept?.isOver === true && this.#fetch === undefined) return this.#cleanUp();
    if (kept === undefined || this.#pause.isOn) return;
    const isCurrent = fetch !== undefined || (await this.#isCurrent(kept.wanted));
    // A request may have started a fetch meanwhile.
    if (!isCurrent && this.#fetch === undefined && this.#starting === undefined) return this.#cleanUp();
    const goesOn = await this.#fetchOf(kept.wanted);
    const ended = goesOn?.ended ?? this.#cleanUp();
    await orAfter<unknown, undefined>(ALARM_MILLISECONDS, ended, undefined);
  }

  /** Whether the mirror still exists, unchanged. */
  async #isCurrent(wanted: BlobWanted): Promise<boolean> {
    const organization = organizationOf(wanted.repository);
    const mirrors = await composeMirrorList(this.env, wanted.namespace);
    return mirrors.some((each) => each.organization === organization && each.changedAt <= wanted.mirror.changedAt);
  }

  get #kept(): Kept | undefined {
    return this.ctx.storage.kv.get<Kept>('fetch');
  }

  async #open(wanted: BlobWanted, range: Range | undefined): Promise<OpenedBlob | undefined> {
    const stored = this.#hasStored && this.#fetch === undefined ? await this.#stored(wanted) : undefined;
    if (stored !== undefined) {
      const { start, end } = range ?? { start: 0, end: stored.size };
      return { size: stored.size, content: await stored.open({ offset: start, length: end - start }) };
    }
    const fetch = await this.#fetchOf(wanted);
    if (fetch === undefined) return undefined;
    const { handout, ended } = fetch;
    await handout.begun();
    if (handout.isBroken) {
      const outcome = await ended;
      if (outcome === 'absent') return undefined;
      throw new OciError('UNAVAILABLE', { message: typeof outcome === 'object' ? outcome.failed : outcome });
    }
    const { size } = handout;
    const { start, end } = range ?? { start: 0, end: size };
    return { size, content: handout.stream(start, Math.min(end, size)) };
  }

  async #size(wanted: BlobWanted): Promise<number | undefined> {
    const { handout } = this.#fetch ?? {};
    if (handout?.isBroken === false) return handout.size;
    this.#requireNoPause();
    this.#sizing ??= this.#askSize(wanted).finally(() => (this.#sizing = undefined));
    return this.#sizing;
  }

  async #askSize(wanted: BlobWanted): Promise<number | undefined> {
    try {
      return await this.#source.size(wanted);
    } catch (error) {
      // A registry that states no size to a HEAD may do so to a GET.
      if (concernsUpstream(error)) this.#fail(wanted, error);
      throw error;
    }
  }

  /** @throws OciError UNAVAILABLE shortly after a failure */
  #requireNoPause(): void {
    if (this.#pause.isOn) throw new OciError('UNAVAILABLE', { message: this.#pause.reason });
  }

  /**
   * Returns the fetch under way, and starts one if there is none; undefined if the upstream has no such blob.
   * @throws OciError UNAVAILABLE shortly after a failure, or the failure of the upstream
   */
  async #fetchOf(wanted: BlobWanted): Promise<Fetch | undefined> {
    if (this.#fetch !== undefined) return this.#fetch;
    this.#requireNoPause();
    this.#starting ??= this.#startOrPause(wanted).finally(() => (this.#starting = undefined));
    return this.#starting;
  }

  async #startOrPause(wanted: BlobWanted): Promise<Fetch | undefined> {
    const abort = new AbortController();
    try {
      return await this.#start(wanted, abort);
    } catch (error) {
      abort.abort(error);
      // A lack of memory here says nothing about the upstream.
      if (!(error instanceof OciError)) this.#fail(wanted, error);
      throw error;
    }
  }

  async #start(wanted: BlobWanted, abort: AbortController): Promise<Fetch | undefined> {
    if (this.#kept?.isOver === true) await this.#cleanUp();
    const known = this.#kept;
    const knownSize = known?.size ?? wanted.size;
    const begun = knownSize === undefined ? await this.#source.begin(wanted, abort.signal) : undefined;
    const size = knownSize ?? begun?.size;
    if (size === undefined) return undefined;
    if (size > MAX_OBJECT_BYTES) throw new ContentError(`${wanted.digest} is larger than any blob that can be stored`);
    const fresh = { id: crypto.randomUUID(), landed: 0, failures: 0, isOver: false };
    const kept: Kept = { ...fresh, ...known, wanted, size };
    const owner = organizationOf(wanted.repository);
    const handout = new Handout({
      size,
      landed: kept.landed,
      parts: this.#partsOf(kept),
      budget: isolateBudget,
      owner,
    });
    await handout.open();
    const fetch = { handout, ended: this.#run(kept, handout, begun?.answer, abort), isOver: false };
    this.#fetch = fetch;
    return fetch;
  }

  /** Runs a fetch to its end. It never rejects. */
  async #run(before: Kept, handout: Handout, begun: Response | undefined, abort: AbortController): Promise<Ended> {
    const { wanted, size } = before;
    let kept = before;
    const keep = (changes: Partial<Kept>): void => {
      kept = { ...kept, ...changes };
      if (size > PART_BYTES) this.ctx.storage.kv.put('fetch', kept);
    };
    // Only after the first byte, which must not wait for a write to storage.
    const noted = handout.begun().then(() => {
      if (size <= PART_BYTES || handout.isBroken) return;
      keep({});
      return this.ctx.storage.setAlarm(Date.now() + FIRST_ALARM_MILLISECONDS);
    });
    let ended: Ended;
    let isRefused = false;
    try {
      const refusal = await bringBlob({
        digest: wanted.digest,
        handout,
        source: this.#source.repository(wanted, abort.signal),
        begun,
        abort,
        registry: await this.#registryOf(wanted),
        repository: wanted.repository,
        onLanded: (landed) => keep({ landed, failures: 0 }),
      });
      this.#pause.end();
      this.#hasStored = refusal === undefined;
      handout.finish(refusal === undefined ? (start, end) => this.#openStored(wanted, start, end) : undefined);
      isRefused = refusal !== undefined;
      ended = refusal === undefined ? 'stored' : { failed: refusal.message, mayPass: mayPass(refusal) };
    } catch (error) {
      handout.fail(error);
      ended = isAbsence(error) ? 'absent' : this.#fail(wanted, error);
    }
    await noted.catch(() => undefined);
    await this.#end(kept, ended, handout, isRefused);
    return ended;
  }

  /**
   * Tidies up after a fetch. Until then, callers get the end of this fetch. If its bytes are the right ones, readers
   * still get its parts, also while another attempt to store them is due.
   */
  async #end(kept: Kept, ended: Ended, handout: Handout, isRefused: boolean): Promise<void> {
    const { storage } = this.ctx;
    const hasParts = kept.size > PART_BYTES && this.#kept !== undefined;
    const isTransient = typeof ended === 'object' && ended.mayPass;
    const goesOn = hasParts && isTransient && kept.failures + 1 < MAX_ATTEMPTS;
    const isRead = hasParts && !handout.isBroken && (goesOn || isRefused || handout.needsParts);
    try {
      if (goesOn) {
        storage.kv.put('fetch', { ...kept, failures: kept.failures + 1 });
        await storage.setAlarm(this.#pause.until);
      } else if (isRead) {
        storage.kv.put('fetch', { ...kept, isOver: true });
        await storage.setAlarm(Date.now() + MINUTE);
      } else await this.#cleanUp();
    } catch (error) {
      logFailure({ mirror: kept.wanted.repository, blob: kept.wanted.digest, error: String(error) });
      await storage.setAlarm(Date.now() + MINUTE);
    }
    if (isRead && this.#fetch !== undefined) {
      this.#fetch.isOver = true;
      this.#readUntil = Date.now() + READ_MILLISECONDS;
    } else this.#fetch = undefined;
  }

  /** Deletes the parts, and then empties storage. */
  #cleanUp(): Promise<void> {
    this.#cleaning ??= this.#deleteKept().finally(() => (this.#cleaning = undefined));
    return this.#cleaning;
  }

  async #deleteKept(): Promise<void> {
    const { storage } = this.ctx;
    const kept = this.#kept;
    if (kept === undefined) return;
    storage.kv.put('fetch', { ...kept, isOver: true });
    await this.#partsOf(kept).delete(kept.landed);
    await storage.deleteAlarm();
    await storage.deleteAll();
  }

  #fail({ repository, digest, mirror }: BlobWanted, error: unknown): Ended {
    const failed = reasonOf(error, mirror.credential);
    this.#pause.begin(error, failed);
    logFailure({ mirror: repository, blob: digest, error: failed });
    return { failed, mayPass: this.#pause.mayPass };
  }

  #partsOf({ id, wanted }: Kept): ObjectParts {
    const { store } = wanted.namespace;
    const { bucket } = composeStore(this.#config, this.env, store) ?? {};
    if (bucket === undefined) throw new Error(`there is no store ${store}`);
    return new ObjectParts(bucket, id);
  }

  /** Looks the blob up in the registry; undefined if it has none. */
  async #stored(wanted: BlobWanted): Promise<StoredBlob | undefined> {
    const { repository, digest } = wanted;
    const registry = await this.#registryOf(wanted);
    return ifKnown(registry.getBlob({ repository, condition: 'granted' }, digest));
  }

  async #openStored(wanted: BlobWanted, start: number, end: number): Promise<ReadableStream<Uint8Array>> {
    const stored = await this.#stored(wanted);
    if (stored === undefined) throw new Error(`${wanted.digest} was removed while it was read`);
    return stored.open({ offset: start, length: end - start });
  }

  #registryOf(wanted: BlobWanted): Promise<Registry> {
    this.#registry ??= registryBeneath(this.ctx, this.env, this.#config, wanted.namespace, new StatementMeter());
    return this.#registry;
  }
}

/**
 * Does some work. Its failure becomes an error with a reason for operators, because the upstream could have sent its
 * credential in the cause.
 */
function orReason<Answer>({ mirror }: BlobWanted, work: () => Promise<Answer>): Promise<Answer> {
  return work().catch((error: unknown) => {
    throw new Error(reasonOf(error, mirror.credential));
  });
}
