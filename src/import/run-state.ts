/** The work that is left of a run of an import, its counts and its report: a part of {@link ImportsState}. */
import type { RepositoryName } from '../oci/reference.ts';
import type { CopiesState } from './copies-state.ts';

/** The most entries of a report. Others are only counted. */
export const MAX_SKIPPED = 100;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS counts (
    import TEXT NOT NULL, name TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (import, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS repositories (
    import TEXT NOT NULL, name TEXT NOT NULL, target TEXT NOT NULL, next TEXT NOT NULL DEFAULT '',
    pages INTEGER NOT NULL DEFAULT 0, is_listed INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
    is_whole INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (import, name)
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

export type Count =
  | 'repositories'
  | 'repositories done'
  | 'tags'
  | 'tags done'
  | 'tags removed'
  | 'manifests copied'
  | 'manifests present'
  | 'blobs copied'
  | 'blobs present'
  | 'bytes copied'
  | 'skipped';

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

export class RunState {
  readonly #sql: SqlStorage;
  readonly #copies: CopiesState;

  constructor(sql: SqlStorage, copies: CopiesState) {
    this.#sql = sql;
    this.#copies = copies;
    sql.exec(SCHEMA);
  }

  forget(id: string): void {
    this.forgetWork(id);
    for (const table of ['counts', 'skipped']) this.#sql.exec(`DELETE FROM ${table} WHERE import = ?`, id);
  }

  /** Forgets the work that is left, but not the counts and the report. */
  forgetWork(id: string): void {
    for (const table of ['repositories', 'tags']) this.#sql.exec(`DELETE FROM ${table} WHERE import = ?`, id);
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

  /** Adds tags of a repository. @param next the address of the next page, '' for the first; undefined on the last */
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
    const isLast = next === undefined ? 1 : 0;
    this.#sql.exec(
      `UPDATE repositories SET next = ?, is_listed = ?, is_whole = ?, pages = pages + 1, attempts = 0
       WHERE import = ? AND name = ?`,
      next ?? '',
      isLast,
      isLast,
      id,
      repository,
    );
    this.#closeRepository(id, repository);
  }

  /** Ends the list of a repository's tags, although it was not read to its end. */
  giveUpTags(id: string, repository: string): void {
    this.#sql.exec('UPDATE repositories SET is_listed = 1, is_whole = 0 WHERE import = ? AND name = ?', id, repository);
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
      this.#copies.forgetDocuments(id, imageOf(repository, tag));
    }
  }

  finishTag(id: string, repository: string, tag: string): void {
    this.#sql.exec('DELETE FROM tags WHERE import = ? AND repository = ? AND tag = ?', id, repository, tag);
    this.#copies.forgetImage(id, imageOf(repository, tag));
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
}

/** Returns the name under which the state keeps an image. */
export function imageOf(repository: string, tag: string): string {
  return `${repository}:${tag}`;
}
