/**
 * The Durable Object that runs the imports of one organization. They take turns, an image at a time, in slices of an
 * alarm. It is not a replication queue: an import may take days, and no announcement waits for it.
 *
 * After a run is killed, Cloudflare fires its alarm again, and the stored state says which steps are left.
 */
import { DurableObject } from 'cloudflare:workers';
import { SigningKeys } from '../auth/signing-keys.ts';
import { type Config, parseConfig } from '../config.ts';
import { DAY, HOUR } from '../durations.ts';
import { logFailure } from '../log.ts';
import { isUnavailable } from '../oci/errors.ts';
import type { OrganizationName } from '../oci/reference.ts';
import { composeControlData, composeRegistry } from '../registry/compose.ts';
import type { Registry } from '../registry/registry.ts';
import { composeQueues } from '../replication/queues.ts';
import { StatementMeter } from '../stores/statement-meter.ts';
import { parseUpstream } from '../upstream/address.ts';
import { connectUpstream, Postponed } from '../upstream/connect.ts';
import { reachOf } from '../upstream/reach.ts';
import { isExpected, MAX_ATTEMPTS, MAX_STARTS, mayPass, reasonOf, waitAfter } from '../upstream/failure.ts';
import { isGlob } from '../oci/glob.ts';
import { type Import, type ImportEnd, ImportsState, type NewImport } from './import-state.ts';
import { type ImportReport, type ImportSummary, summaryOf } from './report.ts';
import { type ImportRequest, targetOf } from './request.ts';
import { imageOf } from './run-state.ts';
import { Slice, SliceOver } from '../upstream/slice.ts';
import { ImportFailed, ImportOver, ImportWork, type Step } from './work.ts';

/** The most imports of an organization that run at once. */
const MAX_RUNNING = 10;
/** The most imports of an organization that are kept in step. */
const MAX_IN_STEP = 20;
/** The longest wait that an upstream may ask for. */
const LONGEST_WAIT_MILLISECONDS = 6 * HOUR;
/** The most times in a row that an import may be put off, by its upstream or by a failure. */
const MAX_FAILURES = 100;
/** The time until an import is looked up again, after the database did not answer. */
const LOOK_UP_WAIT_MILLISECONDS = 30_000;
/** The time between two searches for imports that ended long ago. */
const EXPIRY_MILLISECONDS = DAY;

/** A running import in this instance's memory. */
interface Running {
  readonly work: ImportWork;
  readonly abort: AbortController;
}

export class OrganizationImports extends DurableObject<Env> {
  readonly #config: Config;
  readonly #state: ImportsState;
  /** Counts the statements of all that runs in this object. */
  readonly #meter = new StatementMeter();
  readonly #running = new Map<string, Running>();
  #registry: Registry | undefined;
  #alarmRuns = false;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#config = parseConfig(env);
    this.#state = new ImportsState(ctx.storage.sql);
  }

  /** Starts an import. @returns undefined if too many run, or are kept in step, already */
  async start(organization: OrganizationName, made: NewImport): Promise<ImportReport | undefined> {
    this.#state.expire(made.incarnation, Date.now());
    const { id, request } = made;
    const inStep = request.every !== undefined;
    if (this.#state.left(inStep) >= (inStep ? MAX_IN_STEP : MAX_RUNNING)) return undefined;
    this.#state.add(made, firstPageOf(request));
    this.#addNamed(organization, id, request);
    await this.ctx.storage.put('organization', organization);
    if (!this.#alarmRuns) await this.#schedule();
    return this.#report(id, made.incarnation);
  }

  /** Begins the next run of an import that is kept in step. */
  #beginRun(organization: OrganizationName, { id, request }: Import): Import | undefined {
    this.#state.beginRun(id, firstPageOf(request), Date.now());
    this.#addNamed(organization, id, request);
    return this.#state.get(id);
  }

  #addNamed(organization: OrganizationName, id: string, request: ImportRequest): void {
    for (const name of request.repositories.filter((each) => !isGlob(each))) {
      const target = targetOf(organization, request, name);
      if (target !== undefined) this.#state.run.addRepository(id, name, target);
    }
  }

  /** Returns an import of this incarnation of the organization; undefined if there is none. */
  async report(id: string, incarnation: number): Promise<ImportReport | undefined> {
    const report = this.#report(id, incarnation);
    // An alarm that was lost is set again.
    const isAsleep = report?.endedAt === undefined && !this.#alarmRuns;
    if (isAsleep && (await this.ctx.storage.getAlarm()) === null) await this.#schedule();
    return report;
  }

  reports(incarnation: number): readonly ImportSummary[] {
    return this.#state.list(incarnation).map((each) => this.#summaryOf(each));
  }

  /** Cancels an import that runs, and keeps its copies. */
  cancel(id: string, incarnation: number): ImportReport | undefined {
    const found = this.#state.get(id);
    if (found?.incarnation !== incarnation) return undefined;
    this.#running.get(id)?.abort.abort(new Error('the import was cancelled'));
    this.#end(id, 'cancelled');
    return this.#report(id, incarnation);
  }

  override async alarm(): Promise<void> {
    const organization = await this.ctx.storage.get<OrganizationName>('organization');
    if (organization === undefined) return;
    const slice = new Slice(this.#meter);
    this.#alarmRuns = true;
    try {
      this.#state.expire(undefined, Date.now());
      for (let isFirst = true; !slice.isOver; isFirst = false) {
        const due = this.#state.nextDue(Date.now());
        if (due === undefined) break;
        await this.#advance(organization, due, slice, isFirst);
      }
    } finally {
      this.#alarmRuns = false;
      await this.#schedule();
    }
  }

  /** Takes one step of an import. @param isFirst whether all of the slice is left */
  async #advance(organization: OrganizationName, next: Import, slice: Slice, isFirst: boolean): Promise<void> {
    const { id, failures } = next;
    this.#state.serve(id, Date.now());
    let step: Step | undefined;
    try {
      await this.#requireStill(organization, next, slice);
      const { work } = await this.#runningOf(organization, next);
      if (this.#hasEnded(id)) return;
      const due = next.state === 'waiting' ? this.#beginRun(organization, next) : next;
      step = due && work.next(due);
      if (due === undefined || step === undefined) return this.#endRun(next);
      if (due.starts >= MAX_STARTS) {
        this.#skip(due, step, `${MAX_STARTS} runs in a row got no further with it: it may be too slow, or too large`);
        return this.#state.noteProgress(id);
      }
      await work.take(due, step, slice);
      this.#state.noteProgress(id);
      if (failures > 0) this.#state.putOff(id, 0, 0);
    } catch (error) {
      if (error instanceof SliceOver) {
        if (!isFirst) this.#state.serveAgain(id);
      } else if (!this.#hasEnded(id)) {
        this.#state.noteProgress(id);
        this.#noteFailure(next, step, error);
      }
    } finally {
      // A step that was cancelled may have noted something since.
      if (this.#hasEnded(id)) this.#end(id, 'cancelled');
    }
  }

  #hasEnded(id: string): boolean {
    const found = this.#state.get(id);
    return found === undefined || found.endedAt !== undefined;
  }

  /** @throws ImportOver if the organization, or the credential that the import pushes for, is gone */
  async #requireStill(
    organization: OrganizationName,
    { id, incarnation, importer }: Import,
    slice: Slice,
  ): Promise<void> {
    if (slice.confirmed.has(id)) return;
    const control = composeControlData(this.env, this.#config.central, this.#meter);
    const [found, isValid] = await Promise.all([
      control.organization(organization),
      importer.isStored ? control.hasValidCredential(importer.id, Date.now()) : true,
    ]);
    if (found?.created_at !== incarnation) throw new ImportOver(`the organization ${organization} was removed`);
    if (!isValid) throw new ImportOver('the credential that started the import was removed, or has expired');
    slice.confirmed.add(id);
  }

  #noteFailure(due: Import, step: Step | undefined, error: unknown): void {
    const { id, failures, credential } = due;
    const reason = reasonOf(error, credential);
    if (error instanceof ImportOver) return this.#end(id, 'failed', reason);
    // No step has failed: the import could not be looked up.
    if (step === undefined && isUnavailable(error))
      return this.#state.putOff(id, Date.now() + LOOK_UP_WAIT_MILLISECONDS, failures);
    if (error instanceof ImportFailed || failures >= MAX_FAILURES) return this.#endRun(due, reason);
    if (error instanceof Postponed) {
      const wait = Math.min(error.milliseconds, LONGEST_WAIT_MILLISECONDS);
      return this.#state.putOff(id, Date.now() + wait, failures + 1);
    }
    if (!isExpected(error)) logFailure({ import: id, error: String(error) });
    if (mayPass(error) && attemptsOf(step, due) + 1 < MAX_ATTEMPTS) {
      this.#noteAttempt(id, step);
      return this.#state.putOff(id, Date.now() + waitAfter(failures), failures + 1);
    }
    this.#skip(due, step, reason);
  }

  #noteAttempt(id: string, step: Step | undefined): void {
    switch (step?.kind) {
      case 'tags':
        return this.#state.run.noteFailure(id, step.repository.name, undefined);
      case 'image':
        return this.#state.run.noteFailure(id, step.tag.repository, step.tag.tag);
      case 'removal':
        return this.#state.followed.noteFailure(id, step.tag);
      case 'catalog':
      case undefined:
        return this.#state.noteFailure(id);
    }
  }

  #skip(due: Import, step: Step | undefined, reason: string): void {
    const { id } = due;
    switch (step?.kind) {
      case 'image': {
        const { repository, tag } = step.tag;
        this.#state.run.skip(id, imageOf(repository, tag), reason);
        return this.#state.run.finishTag(id, repository, tag);
      }
      case 'removal': {
        const { repository, tag } = step.tag;
        this.#state.run.skip(id, imageOf(repository, tag), reason);
        return this.#state.followed.drop(id, step.tag);
      }
      case 'tags':
        this.#state.run.skip(id, step.repository.name, reason);
        return this.#state.run.giveUpTags(id, step.repository.name);
      case 'catalog':
      case undefined:
        return this.#endRun(due, reason);
    }
  }

  /** Ends a run: the import is over, or waits for the next run if it is kept in step. @param error why it failed */
  #endRun({ id, request: { every } }: Import, error?: string): void {
    if (every === undefined) return this.#end(id, error === undefined ? 'done' : 'failed', error);
    const [now, begunAt = 0] = [Date.now(), this.#state.get(id)?.begunAt];
    this.#state.endRun(id, error, now, Math.max(now, begunAt + every));
    this.#running.delete(id);
  }

  #end(id: string, state: ImportEnd, error?: string): void {
    this.#state.end(id, state, error, Date.now());
    this.#running.delete(id);
  }

  async #runningOf(organization: OrganizationName, { id, request, credential }: Import): Promise<Running> {
    const known = this.#running.get(id);
    if (known !== undefined) return known;
    const reach = reachOf(this.#config);
    const upstream = parseUpstream(request.from, request.loginHost, reach);
    const abort = new AbortController();
    const running = {
      abort,
      work: new ImportWork({
        organization,
        state: this.#state,
        registry: await this.#registryOfCentral(),
        upstream,
        host: connectUpstream(upstream, credential, reach),
        signal: abort.signal,
      }),
    };
    this.#running.set(id, running);
    return running;
  }

  async #registryOfCentral(): Promise<Registry> {
    if (this.#registry !== undefined) return this.#registry;
    const defer = (work: Promise<unknown>): void => this.ctx.waitUntil(work);
    const surroundings = {
      config: this.#config,
      env: this.env,
      signer: await SigningKeys.import(this.#config.signingKeys),
      now: () => Date.now(),
      defer,
      queues: composeQueues(this.#config, this.env, defer),
      meter: this.#meter,
    };
    this.#registry = composeRegistry(surroundings, this.#config.central);
    return this.#registry;
  }

  #report(id: string, incarnation: number): ImportReport | undefined {
    const found = this.#state.get(id);
    if (found?.incarnation !== incarnation) return undefined;
    return { ...this.#summaryOf(found), report: this.#state.run.skipped(id) };
  }

  #summaryOf(of: Import): ImportSummary {
    return summaryOf(of, this.#state, this.#running.get(of.id)?.work.inFlight ?? { copied: 0, total: 0 });
  }

  async #schedule(): Promise<void> {
    const { dueAt } = this.#state;
    if (dueAt === undefined && this.#state.isEmpty) return;
    const [now, expiry] = [Date.now(), Date.now() + EXPIRY_MILLISECONDS];
    await this.ctx.storage.setAlarm(Math.max(now, Math.min(dueAt ?? expiry, expiry)));
  }
}

/** Returns where a run begins to read the catalog; undefined if it need not. */
function firstPageOf({ repositories }: ImportRequest): string | undefined {
  return repositories.some(isGlob) ? '' : undefined;
}

function attemptsOf(step: Step | undefined, { attempts }: Import): number {
  if (step?.kind === 'tags') return step.repository.attempts;
  return step?.kind === 'image' || step?.kind === 'removal' ? step.tag.attempts : attempts;
}

/** Returns the Durable Object of an organization's imports. */
export function importsOf(env: object, organization: OrganizationName): DurableObjectStub<OrganizationImports> {
  const { ORGANIZATION_IMPORTS: all } = env as { ORGANIZATION_IMPORTS: DurableObjectNamespace<OrganizationImports> };
  return all.get(all.idFromName(organization));
}
