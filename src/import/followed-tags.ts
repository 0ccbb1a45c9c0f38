/**
 * The tags that an import in step has set, so that it can remove those that the upstream has removed: a part of
 * {@link ImportsState}.
 */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS followed_tags (
    import TEXT NOT NULL, repository TEXT NOT NULL, tag TEXT NOT NULL, target TEXT NOT NULL, digest TEXT NOT NULL,
    run INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (import, repository, tag)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS followed_tags_by_run ON followed_tags (import, run);`;

export interface FollowedTag {
  /** The upstream's name of the repository. */
  readonly repository: string;
  readonly target: RepositoryName;
  readonly tag: Tag;
  /** The manifest that it named here. */
  readonly digest: Digest;
}

export interface MissingTag extends FollowedTag {
  /** The number of failed attempts to remove it. */
  readonly attempts: number;
}

export class FollowedTags {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(SCHEMA);
  }

  forget(id: string): void {
    this.#sql.exec('DELETE FROM followed_tags WHERE import = ?', id);
  }

  /** Notes that a run found a tag at the upstream, and that it names this manifest here. */
  note(id: string, run: number, { repository, target, tag, digest }: FollowedTag): void {
    this.#sql.exec(
      `INSERT OR REPLACE INTO followed_tags (import, repository, tag, target, digest, run) VALUES (?, ?, ?, ?, ?, ?)`,
      id,
      repository,
      tag,
      target,
      digest,
      run,
    );
  }

  /** Notes that a run found tags in the upstream's list. */
  noteListed(id: string, run: number, repository: string, tags: readonly string[]): void {
    for (const tag of tags) this.#setRun(id, run, repository, tag);
  }

  /** Notes that the upstream does not have a tag, although it may have listed it. */
  noteMissing(id: string, repository: string, tag: string): void {
    this.#setRun(id, 0, repository, tag);
  }

  /** Returns a tag that this run did not find in a repository whose list it read to the end. */
  missing(id: string, run: number): MissingTag | undefined {
    const [row] = this.#sql
      .exec(
        `SELECT f.repository, f.target, f.tag, f.digest, f.attempts FROM followed_tags f
         JOIN repositories r ON r.import = f.import AND r.name = f.repository AND r.is_whole = 1
         WHERE f.import = ? AND f.run < ? LIMIT 1`,
        id,
        run,
      )
      .toArray();
    return row === undefined ? undefined : (row as unknown as MissingTag);
  }

  /** Counts a failed attempt to remove a tag. */
  noteFailure(id: string, { repository, tag }: MissingTag): void {
    this.#sql.exec(
      'UPDATE followed_tags SET attempts = attempts + 1 WHERE import = ? AND repository = ? AND tag = ?',
      id,
      repository,
      tag,
    );
  }

  drop(id: string, { repository, tag }: Pick<FollowedTag, 'repository' | 'tag'>): void {
    this.#sql.exec('DELETE FROM followed_tags WHERE import = ? AND repository = ? AND tag = ?', id, repository, tag);
  }

  #setRun(id: string, run: number, repository: string, tag: string): void {
    this.#sql.exec(
      'UPDATE followed_tags SET run = ? WHERE import = ? AND repository = ? AND tag = ?',
      run,
      id,
      repository,
      tag,
    );
  }
}
