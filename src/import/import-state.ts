/**
 * The state of an organization's imports, in the SQLite storage of their Durable Object. A run writes each finished
 * step here before it begins the next, so the run after a killed one repeats only the steps under way.
 *
 * An ended import keeps its row and the start of its report; its work and its credential are deleted.
 */
import { DAY } from '../durations.ts';
import type { UpstreamCredential } from '../upstream/connect.ts';
import { CopiesState } from './copies-state.ts';
import { FollowedTags } from './followed-tags.ts';
import type { Importer, ImportRequest } from './request.ts';
import { RunState } from './run-state.ts';

/** The time for which an ended import is shown. */
const SHOWN_MILLISECONDS = 30 * DAY;
/** The most imports that are shown. */
const MAX_SHOWN = 100;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS imports (
    id TEXT PRIMARY KEY, made_at INTEGER NOT NULL, incarnation INTEGER NOT NULL, request TEXT NOT NULL,
    importer TEXT NOT NULL, credential TEXT, state TEXT NOT NULL, error TEXT, ended_at INTEGER,
    due_at INTEGER NOT NULL, failures INTEGER NOT NULL DEFAULT 0, served_at INTEGER NOT NULL DEFAULT 0,
    starts INTEGER NOT NULL DEFAULT 0, run INTEGER NOT NULL DEFAULT 1, begun_at INTEGER NOT NULL, last_run_at INTEGER,
    catalog TEXT, pages INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS imports_left ON imports (served_at, made_at) WHERE ended_at IS NULL;`;

export type ImportEnd = 'done' | 'failed' | 'cancelled';

export interface Import {
  readonly id: string;
  /** Milliseconds since the epoch, as are the times below. */
  readonly madeAt: number;
  /** When the organization that it belongs to was created. */
  readonly incarnation: number;
  readonly request: ImportRequest;
  readonly importer: Importer;
  readonly credential: UpstreamCredential | undefined;
  /** `waiting` between two runs of an import that is kept in step. */
  readonly state: 'running' | 'waiting' | ImportEnd;
  /** Why it failed, or its last run did. */
  readonly error: string | undefined;
  readonly endedAt: number | undefined;
  readonly dueAt: number;
  /** The number of failures in a row. */
  readonly failures: number;
  /** The number of turns that it was given since it last got further. */
  readonly starts: number;
  /** The number of the run, from 1. */
  readonly run: number;
  readonly begunAt: number;
  /** When the last run ended; undefined before. */
  readonly lastRunAt: number | undefined;
  /** The address of the next page of the catalog: '' for the first, undefined if no page is left. */
  readonly catalog: string | undefined;
  /** The number of pages of the catalog that were read. */
  readonly pages: number;
  /** The number of failed attempts to read the next page of the catalog. */
  readonly attempts: number;
}

export type NewImport = Pick<Import, 'id' | 'madeAt' | 'incarnation' | 'request' | 'importer' | 'credential'>;

interface ImportRow extends Record<string, SqlStorageValue> {
  readonly id: string;
  readonly made_at: number;
  readonly incarnation: number;
  readonly request: string;
  readonly importer: string;
  readonly credential: string | null;
  readonly state: Import['state'];
  readonly error: string | null;
  readonly ended_at: number | null;
  readonly due_at: number;
  readonly failures: number;
  readonly starts: number;
  readonly run: number;
  readonly begun_at: number;
  readonly last_run_at: number | null;
  readonly catalog: string | null;
  readonly pages: number;
  readonly attempts: number;
}

export class ImportsState {
  readonly copies: CopiesState;
  readonly run: RunState;
  readonly followed: FollowedTags;
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    this.copies = new CopiesState(sql, (id) => this.noteProgress(id));
    this.run = new RunState(sql, this.copies);
    this.followed = new FollowedTags(sql);
    sql.exec(SCHEMA);
  }

  add({ id, madeAt, incarnation, request, importer, credential }: NewImport, catalog: string | undefined): void {
    this.#sql.exec(
      `INSERT INTO imports (id, made_at, incarnation, request, importer, credential, state, due_at, begun_at, catalog)
       VALUES (?, ?, ?, ?, ?, ?, 'running', ?, ?, ?)`,
      id,
      madeAt,
      incarnation,
      JSON.stringify(request),
      JSON.stringify(importer),
      credential === undefined ? null : JSON.stringify(credential),
      madeAt,
      madeAt,
      catalog ?? null,
    );
  }

  /** Begins the next run of an import that is kept in step. */
  beginRun(id: string, catalog: string | undefined, now: number): void {
    this.#sql.exec(
      `UPDATE imports SET state = 'running', error = NULL, begun_at = ?, run = run + 1, starts = 1, catalog = ?,
         pages = 0 WHERE id = ?`,
      now,
      catalog ?? null,
      id,
    );
    this.run.forget(id);
  }

  /** Ends a run, after which the import waits for the next. */
  endRun(id: string, error: string | undefined, now: number, nextAt: number): void {
    this.#sql.exec(
      `UPDATE imports SET state = 'waiting', error = ?, last_run_at = ?, due_at = ?, failures = 0, attempts = 0,
         starts = 0
       WHERE id = ?`,
      error ?? null,
      now,
      nextAt,
      id,
    );
    this.run.forgetWork(id);
    this.copies.forget(id);
  }

  get(id: string): Import | undefined {
    return this.#imports('WHERE id = ?', id)[0];
  }

  /** Returns the imports of an organization: those that have not ended, then the others, each the latest first. */
  list(incarnation: number): readonly Import[] {
    const order = 'ORDER BY ended_at IS NOT NULL, made_at DESC, id';
    return this.#imports(`WHERE incarnation = ? ${order} LIMIT ?`, incarnation, MAX_SHOWN);
  }

  /** Returns how many imports have not ended. @param inStep whether to count those kept in step, or the others */
  left(inStep: boolean): number {
    const { n } = this.#sql
      .exec(
        `SELECT count(*) AS n FROM imports WHERE ended_at IS NULL AND (json_extract(request, '$.every') IS NOT NULL) = ?`,
        inStep ? 1 : 0,
      )
      .one();
    return Number(n);
  }

  /** Returns the import whose turn it is; undefined if none is due. */
  nextDue(now: number): Import | undefined {
    return this.#imports('WHERE ended_at IS NULL AND due_at <= ? ORDER BY served_at, made_at LIMIT 1', now)[0];
  }

  /** Returns when the first import is due; undefined if all have ended. */
  get dueAt(): number | undefined {
    const { at } = this.#sql.exec('SELECT min(due_at) AS at FROM imports WHERE ended_at IS NULL').one();
    return at === null ? undefined : Number(at);
  }

  /** Notes that it is an import's turn. */
  serve(id: string, now: number): void {
    this.#sql.exec('UPDATE imports SET served_at = ?, starts = starts + 1 WHERE id = ?', now, id);
  }

  /** Gives an import its turn back, because too little was left of the slice for it. */
  serveAgain(id: string): void {
    this.#sql.exec('UPDATE imports SET served_at = 0, starts = max(starts - 1, 0) WHERE id = ?', id);
  }

  /** Notes that an import got further. */
  noteProgress(id: string): void {
    this.#sql.exec('UPDATE imports SET starts = 0 WHERE id = ? AND starts > 0', id);
  }

  /** Lets an import wait. @param failures how often it has failed in a row */
  putOff(id: string, dueAt: number, failures: number): void {
    this.#sql.exec('UPDATE imports SET due_at = ?, failures = ? WHERE id = ?', dueAt, failures, id);
  }

  /** Ends an import, unless it has ended, and deletes its work. */
  end(id: string, state: ImportEnd, error: string | undefined, now: number): void {
    this.#sql.exec(
      `UPDATE imports SET state = ?, error = ?, ended_at = ?, credential = NULL WHERE id = ? AND ended_at IS NULL`,
      state,
      error ?? null,
      now,
      id,
    );
    this.run.forgetWork(id);
    this.copies.forget(id);
    this.followed.forget(id);
  }

  get isEmpty(): boolean {
    return this.#imports('LIMIT 1').length === 0;
  }

  /**
   * Deletes imports that ended long ago, or are too many.
   * @param incarnation if given, imports of earlier organizations of the name are deleted as well
   */
  expire(incarnation: number | undefined, now: number): void {
    const ended = this.#imports('WHERE ended_at IS NOT NULL ORDER BY made_at DESC');
    const isOver = ({ incarnation: of, endedAt = 0 }: Import, i: number): boolean =>
      (incarnation !== undefined && of !== incarnation) || endedAt <= now - SHOWN_MILLISECONDS || i >= MAX_SHOWN;
    for (const { id } of ended.filter(isOver)) {
      this.run.forget(id);
      this.#sql.exec('DELETE FROM imports WHERE id = ?', id);
    }
  }

  /** Counts a failed attempt to read a page of the catalog. */
  noteFailure(id: string): void {
    this.#sql.exec('UPDATE imports SET attempts = attempts + 1 WHERE id = ?', id);
  }

  setCatalog(id: string, next: string | undefined): void {
    this.#sql.exec('UPDATE imports SET catalog = ?, pages = pages + 1, attempts = 0 WHERE id = ?', next ?? null, id);
  }

  #imports(where: string, ...bound: SqlStorageValue[]): Import[] {
    return this.#sql
      .exec<ImportRow>(`SELECT * FROM imports ${where}`, ...bound)
      .toArray()
      .map(importOf);
  }
}

function importOf(row: ImportRow): Import {
  return {
    id: row.id,
    madeAt: row.made_at,
    incarnation: row.incarnation,
    request: JSON.parse(row.request) as ImportRequest,
    importer: JSON.parse(row.importer) as Importer,
    credential: row.credential === null ? undefined : (JSON.parse(row.credential) as UpstreamCredential),
    state: row.state,
    error: row.error ?? undefined,
    endedAt: row.ended_at ?? undefined,
    dueAt: row.due_at,
    failures: row.failures,
    starts: row.starts,
    run: row.run,
    begunAt: row.begun_at,
    lastRunAt: row.last_run_at ?? undefined,
    catalog: row.catalog ?? undefined,
    pages: row.pages,
    attempts: row.attempts,
  };
}
