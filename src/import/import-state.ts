/**
 * The state of an organization's imports, in the SQLite storage of their Durable Object. A run writes each thing that it
 * has done here before it begins the next, so the run after a killed one repeats only the things under way.
 *
 * An ended import keeps its row and the start of its report; its work and its credential are deleted.
 */
import { DAY } from '../durations.ts';
import type { RepositoryName } from '../oci/reference.ts';
import type { UpstreamCredential } from '../upstream/connect.ts';
import { CopiesState } from './copies-state.ts';
import type { Importer, ImportRequest } from './request.ts';

/** The time for which an ended import is shown. */
const SHOWN_MILLISECONDS = 30 * DAY;
/** The most imports that are shown. */
const MAX_SHOWN = 100;
/** The most entries of a report. Others are only counted. */
export const MAX_SKIPPED = 100;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS imports (
    id TEXT PRIMARY KEY, made_at INTEGER NOT NULL, incarnation INTEGER NOT NULL, request TEXT NOT NULL,
    importer TEXT NOT NULL, credential TEXT, state TEXT NOT NULL, error TEXT, ended_at INTEGER,
    due_at INTEGER NOT NULL, failures INTEGER NOT NULL DEFAULT 0, served_at INTEGER NOT NULL DEFAULT 0,
    starts INTEGER NOT NULL DEFAULT 0, catalog TEXT, pages INTEGER NOT NULL DEFAULT 0
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS imports_running ON imports (served_at, made_at) WHERE state = 'running';
  CREATE TABLE IF NOT EXISTS counts (
    import TEXT NOT NULL, name TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (import, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS repositories (
    import TEXT NOT NULL, name TEXT NOT NULL, target TEXT NOT NULL, next TEXT NOT NULL DEFAULT '',
    pages INTEGER NOT NULL DEFAULT 0, is_listed INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (import, name)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS repositories_left ON repositories (import, attempts) WHERE is_listed = 0;
  CREATE TABLE IF NOT EXISTS tags (
    import TEXT NOT NULL, repository TEXT NOT NULL, tag TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (import, repository, tag)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS tags_left ON tags (import, attempts, repository, tag);
  CREATE TABLE IF NOT EXISTS skipped (
    import TEXT NOT NULL, number INTEGER NOT NULL, what TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (import, number)
  ) STRICT, WITHOUT ROWID;`;

export type ImportEnd = 'done' | 'failed' | 'cancelled';

export type Count =
  | 'repositories'
  | 'repositories done'
  | 'tags'
  | 'tags done'
  | 'manifests copied'
  | 'manifests present'
  | 'blobs copied'
  | 'blobs present'
  | 'bytes copied'
  | 'skipped';

export interface Import {
  readonly id: string;
  /** Milliseconds since the epoch, as are the times below. */
  readonly madeAt: number;
  /** When the organization that it belongs to was created. */
  readonly incarnation: number;
  readonly request: ImportRequest;
  readonly importer: Importer;
  readonly credential: UpstreamCredential | undefined;
  readonly state: 'running' | ImportEnd;
  readonly error: string | undefined;
  readonly endedAt: number | undefined;
  readonly dueAt: number;
  /** The number of failures in a row. */
  readonly failures: number;
  /** The number of turns that it was given since it last got further. */
  readonly starts: number;
  /** The address of the next page of the catalog: '' for the first, undefined if no page is left. */
  readonly catalog: string | undefined;
  /** The number of pages of the catalog that were read. */
  readonly pages: number;
}

export type NewImport = Pick<Import, 'id' | 'madeAt' | 'incarnation' | 'request' | 'importer' | 'credential'>;

export interface RepositoryLeft {
  readonly name: string;
  readonly target: RepositoryName;
  /** The address of the next page of its tags; '' for the first. */
  readonly next: string;
  readonly pages: number;
  readonly attempts: number;
}

export interface TagLeft {
  readonly repository: string;
  readonly target: RepositoryName;
  readonly tag: string;
  readonly attempts: number;
}

export interface Skipped {
  readonly what: string;
  readonly reason: string;
}

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
  readonly catalog: string | null;
  readonly pages: number;
}

export class ImportsState {
  readonly copies: CopiesState;
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    this.copies = new CopiesState(sql, (id) => this.noteProgress(id));
    sql.exec(SCHEMA);
  }

  add({ id, madeAt, incarnation, request, importer, credential }: NewImport, catalog: string | undefined): void {
    this.#sql.exec(
      `INSERT INTO imports (id, made_at, incarnation, request, importer, credential, state, due_at, catalog)
       VALUES (?, ?, ?, ?, ?, ?, 'running', ?, ?)`,
      id,
      madeAt,
      incarnation,
      JSON.stringify(request),
      JSON.stringify(importer),
      credential === undefined ? null : JSON.stringify(credential),
      madeAt,
      catalog ?? null,
    );
  }

  get(id: string): Import | undefined {
    return this.#imports('WHERE id = ?', id)[0];
  }

  /** Returns the imports of an organization, the latest first. */
  list(incarnation: number): readonly Import[] {
    return this.#imports('WHERE incarnation = ? ORDER BY made_at DESC, id LIMIT ?', incarnation, MAX_SHOWN);
  }

  get runningCount(): number {
    return Number(this.#sql.exec(`SELECT count(*) AS n FROM imports WHERE state = 'running'`).one()['n']);
  }

  /** Returns the running import whose turn it is; undefined if all of them wait. */
  nextDue(now: number): Import | undefined {
    return this.#imports(`WHERE state = 'running' AND due_at <= ? ORDER BY served_at, made_at LIMIT 1`, now)[0];
  }

  /** Returns when the first of the running imports is due; undefined if none runs. */
  get dueAt(): number | undefined {
    const { at } = this.#sql.exec(`SELECT min(due_at) AS at FROM imports WHERE state = 'running'`).one();
    return at === null ? undefined : Number(at);
  }

  /** Takes note that it is an import's turn. */
  serve(id: string, now: number): void {
    this.#sql.exec('UPDATE imports SET served_at = ?, starts = starts + 1 WHERE id = ?', now, id);
  }

  /** Gives an import its turn back, because too little was left of the slice for it. */
  serveAgain(id: string): void {
    this.#sql.exec('UPDATE imports SET served_at = 0, starts = max(starts - 1, 0) WHERE id = ?', id);
  }

  /** Takes note that an import got further. */
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
      `UPDATE imports SET state = ?, error = ?, ended_at = ?, credential = NULL WHERE id = ? AND state = 'running'`,
      state,
      error ?? null,
      now,
      id,
    );
    for (const table of ['repositories', 'tags']) this.#sql.exec(`DELETE FROM ${table} WHERE import = ?`, id);
    this.copies.forget(id);
  }

  get isEmpty(): boolean {
    return this.#imports('LIMIT 1').length === 0;
  }

  /**
   * Deletes imports that ended long ago, or are too many.
   * @param incarnation if given, imports of earlier organizations of the name are deleted as well
   */
  expire(incarnation: number | undefined, now: number): void {
    const ended = this.#imports(`WHERE state <> 'running' ORDER BY made_at DESC`);
    const isOver = ({ incarnation: of, endedAt = 0 }: Import, i: number): boolean =>
      (incarnation !== undefined && of !== incarnation) || endedAt <= now - SHOWN_MILLISECONDS || i >= MAX_SHOWN;
    for (const { id } of ended.filter(isOver)) {
      for (const table of ['counts', 'skipped']) this.#sql.exec(`DELETE FROM ${table} WHERE import = ?`, id);
      this.#sql.exec('DELETE FROM imports WHERE id = ?', id);
    }
  }

  setCatalog(id: string, next: string | undefined): void {
    this.#sql.exec('UPDATE imports SET catalog = ?, pages = pages + 1 WHERE id = ?', next ?? null, id);
  }

  addRepository(id: string, name: string, target: RepositoryName): void {
    const added = this.#sql.exec(
      'INSERT OR IGNORE INTO repositories (import, name, target) VALUES (?, ?, ?)',
      id,
      name,
      target,
    );
    if (added.rowsWritten > 0) this.count(id, 'repositories');
  }

  repositoryToList(id: string): RepositoryLeft | undefined {
    const [row] = this.#sql
      .exec('SELECT * FROM repositories WHERE import = ? AND is_listed = 0 ORDER BY attempts LIMIT 1', id)
      .toArray();
    return row === undefined ? undefined : (row as unknown as RepositoryLeft);
  }

  /** Adds tags of a repository. @param next the address of the next page; undefined on the last */
  addTags(id: string, repository: string, tags: readonly string[], next: string | undefined): void {
    let added = 0;
    for (const tag of tags) {
      const { rowsWritten } = this.#sql.exec(
        'INSERT OR IGNORE INTO tags (import, repository, tag) VALUES (?, ?, ?)',
        id,
        repository,
        tag,
      );
      if (rowsWritten > 0) added += 1;
    }
    this.count(id, 'tags', added);
    this.#sql.exec(
      `UPDATE repositories SET next = ?, is_listed = ?, pages = pages + 1, attempts = 0 WHERE import = ? AND name = ?`,
      next ?? '',
      next === undefined ? 1 : 0,
      id,
      repository,
    );
    this.#closeRepository(id, repository);
  }

  tagToCopy(id: string): TagLeft | undefined {
    const [row] = this.#sql
      .exec(
        `SELECT t.repository, t.tag, t.attempts, r.target FROM tags t
         JOIN repositories r ON r.import = t.import AND r.name = t.repository
         WHERE t.import = ? ORDER BY t.attempts, t.repository, t.tag LIMIT 1`,
        id,
      )
      .toArray();
    return row === undefined ? undefined : (row as unknown as TagLeft);
  }

  noteFailure(id: string, repository: string, tag: string | undefined): void {
    if (tag === undefined)
      this.#sql.exec('UPDATE repositories SET attempts = attempts + 1 WHERE import = ? AND name = ?', id, repository);
    else {
      this.#sql.exec(
        'UPDATE tags SET attempts = attempts + 1 WHERE import = ? AND repository = ? AND tag = ?',
        id,
        repository,
        tag,
      );
      this.copies.forgetDocuments(id, imageOf(repository, tag));
    }
  }

  finishTag(id: string, repository: string, tag: string): void {
    this.#sql.exec('DELETE FROM tags WHERE import = ? AND repository = ? AND tag = ?', id, repository, tag);
    this.copies.forgetImage(id, imageOf(repository, tag));
    this.count(id, 'tags done');
    this.#closeRepository(id, repository);
  }

  /** Counts a repository as done once its last tag is. */
  #closeRepository(id: string, name: string): void {
    const done = this.#sql.exec(
      `SELECT 1 FROM repositories r WHERE import = ? AND name = ? AND is_listed = 1
       AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.import = r.import AND t.repository = r.name)`,
      id,
      name,
    );
    if (done.toArray().length > 0) this.count(id, 'repositories done');
  }

  skip(id: string, what: string, reason: string): void {
    const number = this.counts(id).get('skipped') ?? 0;
    if (number < MAX_SKIPPED) {
      this.#sql.exec(
        'INSERT OR REPLACE INTO skipped VALUES (?, ?, ?, ?)',
        id,
        number,
        what.slice(0, 400),
        reason.slice(0, 600),
      );
    }
    this.count(id, 'skipped');
  }

  skipped(id: string): readonly Skipped[] {
    return this.#sql
      .exec('SELECT what, reason FROM skipped WHERE import = ? ORDER BY number', id)
      .toArray() as unknown as Skipped[];
  }

  count(id: string, name: Count, more = 1): void {
    if (more === 0) return;
    this.#sql.exec(
      `INSERT INTO counts VALUES (?, ?, ?) ON CONFLICT (import, name) DO UPDATE SET count = count + excluded.count`,
      id,
      name,
      more,
    );
  }

  counts(id: string): ReadonlyMap<Count, number> {
    const rows = this.#sql.exec('SELECT name, count FROM counts WHERE import = ?', id).toArray();
    return new Map(rows.map((row) => [row['name'] as Count, Number(row['count'])]));
  }

  #imports(where: string, ...bound: SqlStorageValue[]): Import[] {
    return this.#sql
      .exec<ImportRow>(`SELECT * FROM imports ${where}`, ...bound)
      .toArray()
      .map(importOf);
  }
}

/** Returns what the copies of an image are kept under. */
export function imageOf(repository: string, tag: string): string {
  return `${repository}:${tag}`;
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
    catalog: row.catalog ?? undefined,
    pages: row.pages,
  };
}
