/**
 * The pushes that a mirror forwards to its upstream, in the SQLite storage of its Durable Object: a row for each tag of
 * a push, or one for a push without a tag. A settled push has no row. A confirmed row has the version of its commit. A
 * noted row has the greatest version of its tag that was confirmed or deleted since it was noted, 0 for none.
 *
 *     noted ──► pending ──► announced ──► settled
 *                  │             │
 *                  └─► parked ◄──┘
 *
 * A push is noted before it is committed here, so it is forwarded even if the Worker dies in between: then the mirror
 * looks for its commit itself. It is pending once it is committed, announced once the upstream has taken its manifest,
 * and settled once the upstream shows it. Only a later push of the same tag or a deletion removes a committed push that
 * waits.
 *
 * If the upstream does not answer, no single push is to blame: all pushes wait, and no attempt is counted.
 */
import { MINUTE } from '../durations.ts';
import type { Digest } from '../oci/digest.ts';
import type { MediaType } from '../oci/media-type.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import type { ManifestDescriptor } from '../registry/registry.ts';
import type { Failed } from './outgoing-failure.ts';

/** The time after which the mirror looks for the commit of a noted push. No request takes that long. */
const LOOK_MILLISECONDS = 10 * MINUTE;
/** The most pushes that may wait. Further ones are refused until the upstream takes some. */
export const MAX_OUTGOING = 100_000;
/** The most blobs that are remembered for mounting. */
const MAX_BLOBS = 50_000;
/** The number of blobs after which old ones are forgotten. */
const WRITES_A_LOOK = 1000;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS outgoing (
    id INTEGER PRIMARY KEY AUTOINCREMENT, repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL,
    media_type TEXT NOT NULL, size INTEGER NOT NULL, stage TEXT NOT NULL, version INTEGER NOT NULL DEFAULT 0,
    noted_at INTEGER NOT NULL, due_at INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT ''
  ) STRICT;
  CREATE INDEX IF NOT EXISTS outgoing_by_tag ON outgoing (repository, tag);
  CREATE INDEX IF NOT EXISTS outgoing_by_digest ON outgoing (repository, digest);
  CREATE INDEX IF NOT EXISTS outgoing_by_time ON outgoing (due_at, id) WHERE stage <> 'parked';
  CREATE INDEX IF NOT EXISTS outgoing_by_stage ON outgoing (stage, id);
  CREATE TABLE IF NOT EXISTS forwarded (
    digest TEXT PRIMARY KEY, repository TEXT NOT NULL, at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS forwarded_by_age ON forwarded (at);
  CREATE TABLE IF NOT EXISTS forward_uploads (key TEXT PRIMARY KEY, location TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS settled (only INTEGER PRIMARY KEY, count INTEGER NOT NULL) STRICT;`;

export type Stage = 'noted' | 'pending' | 'announced' | 'parked';

export interface Outgoing {
  readonly id: number;
  readonly repository: RepositoryName;
  /** Undefined for a push by digest. */
  readonly tag: Tag | undefined;
  readonly manifest: ManifestDescriptor;
  readonly stage: Stage;
  /** The version of the commit; while the push is noted, see the top of this file. */
  readonly version: number;
  /** Milliseconds since the epoch. */
  readonly notedAt: number;
  readonly attempts: number;
  /** The last failure, for people; '' for none. */
  readonly reason: string;
}

export type OutgoingCounts = Readonly<Record<'pending' | 'announced' | 'settled' | 'parked', number>>;

type Row = Record<string, SqlStorageValue>;

export class OutgoingState {
  readonly #sql: SqlStorage;
  #writes = 0;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(SCHEMA);
  }

  /** Notes a push that is about to be committed. @returns the ids of its rows; undefined if too many pushes wait */
  note(
    repository: RepositoryName,
    { digest, mediaType, size }: ManifestDescriptor,
    tags: readonly Tag[],
    now: number,
  ): number[] | undefined {
    if (this.#first('SELECT 1 FROM outgoing LIMIT 1 OFFSET ?', MAX_OUTGOING - 1) !== undefined) return undefined;
    const names = tags.length === 0 ? [''] : tags;
    return names.map((tag) => {
      const row = this.#first(
        `INSERT INTO outgoing (repository, tag, digest, media_type, size, stage, noted_at, due_at)
          VALUES (?, ?, ?, ?, ?, 'noted', ?, ?) RETURNING id`,
        repository,
        tag,
        digest,
        mediaType,
        size,
        now,
        now + LOOK_MILLISECONDS,
      );
      return Number(row?.['id']);
    });
  }

  /**
   * Forwards a push that was committed, in place of earlier pushes of its tag. If a later push of the tag was confirmed
   * before, forgets this one.
   * @param version of the commit
   * @returns the push if it is forgotten
   */
  confirm(id: number, version: number, now: number): Outgoing | undefined {
    const row = this.#first("SELECT * FROM outgoing WHERE id = ? AND stage = 'noted'", id);
    if (row === undefined) return undefined;
    const [repository, tag, digest] = [row['repository'], row['tag'], row['digest']] as [string, string, string];
    const column = tag === '' ? 'digest' : 'tag';
    // The plus has SQLite look by the column before it, because many pushes can have no tag.
    const same = `repository = ? AND ${column} = ? AND +tag = ? AND stage`;
    const asked = [repository, tag === '' ? digest : tag, tag];
    const others = this.#rows(`SELECT id, version FROM outgoing WHERE ${same} <> 'noted'`, ...asked);
    const latest = Math.max(Number(row['version']), ...others.map((other) => Number(other['version'])));
    if (version <= latest) {
      this.#delete(id);
      return outgoingIn(row);
    }
    for (const other of others) this.#delete(Number(other['id']));
    this.#sql.exec("UPDATE outgoing SET stage = 'pending', version = ?, due_at = ? WHERE id = ?", version, now, id);
    // This push may have settled by the time that an earlier one is confirmed.
    this.#sql.exec(`UPDATE outgoing SET version = max(version, ?) WHERE ${same} = 'noted'`, version, ...asked);
    return undefined;
  }

  /** Notes that the pushes of a tag up to a version are not to be forwarded, even if they are confirmed later. */
  pass(id: number, version: number): void {
    this.#sql.exec("UPDATE outgoing SET version = max(version, ?) WHERE id = ? AND stage = 'noted'", version, id);
  }

  /** Forgets a push that was never committed. @returns it; undefined if it does not wait any more */
  withdraw(id: number): Outgoing | undefined {
    const row = this.#first("DELETE FROM outgoing WHERE id = ? AND stage = 'noted' RETURNING *", id);
    return row && outgoingIn(row);
  }

  drop({ id }: Pick<Outgoing, 'id'>): void {
    this.#delete(id);
  }

  /** Lists the noted pushes of a tag or a manifest. */
  noted(repository: RepositoryName, reference: string): Outgoing[] {
    const query = `SELECT * FROM outgoing WHERE repository = ? AND ${columnOf(reference)} = ? AND stage = 'noted'`;
    return this.#rows(query, repository, reference).map(outgoingIn);
  }

  /** Forgets the committed pushes of a tag or a manifest that is deleted. @returns them */
  dropReference(repository: RepositoryName, reference: string): Outgoing[] {
    return this.#rows(
      `DELETE FROM outgoing WHERE repository = ? AND ${columnOf(reference)} = ? AND stage <> 'noted' RETURNING *`,
      repository,
      reference,
    ).map(outgoingIn);
  }

  /** Returns whether a push still waits. A later push or a deletion may have removed it. */
  isWanted({ id }: Pick<Outgoing, 'id'>): boolean {
    return this.#first('SELECT 1 FROM outgoing WHERE id = ?', id) !== undefined;
  }

  /** Returns whether any push of a tag waits, committed or not. */
  has(repository: RepositoryName, tag: Tag): boolean {
    return (
      this.#first('SELECT 1 FROM outgoing WHERE repository = ? AND tag = ? LIMIT 1', repository, tag) !== undefined
    );
  }

  /** Returns the next push that is due; undefined if none is due by now. */
  next(now: number): Outgoing | undefined {
    const row = this.#first(
      "SELECT * FROM outgoing WHERE stage <> 'parked' AND due_at <= ? ORDER BY due_at, id LIMIT 1",
      now,
    );
    return row && outgoingIn(row);
  }

  /** Returns when the next push is due; undefined if none waits. */
  nextDueAt(): number | undefined {
    const row = this.#first("SELECT due_at FROM outgoing WHERE stage <> 'parked' ORDER BY due_at, id LIMIT 1");
    return row && Number(row['due_at']);
  }

  /** Describes the manifest that was pushed under a tag here, until the upstream shows it. */
  pushed(repository: RepositoryName, tag: Tag): ManifestDescriptor | undefined {
    const row = this.#first(
      "SELECT * FROM outgoing WHERE repository = ? AND tag = ? AND stage <> 'noted' LIMIT 1",
      repository,
      tag,
    );
    return row && outgoingIn(row).manifest;
  }

  putOff({ id }: Pick<Outgoing, 'id'>, dueAt: number): void {
    this.#sql.exec('UPDATE outgoing SET due_at = ? WHERE id = ?', dueAt, id);
  }

  noteFailure({ id, stage }: Outgoing, { isParked, attempts, dueAt }: Failed, reason: string): void {
    this.#sql.exec(
      'UPDATE outgoing SET stage = ?, attempts = ?, due_at = ?, reason = ? WHERE id = ?',
      isParked ? 'parked' : stage,
      attempts,
      dueAt,
      reason,
      id,
    );
  }

  /** Notes that the upstream has taken the manifest. */
  announce({ id }: Pick<Outgoing, 'id'>, now: number): void {
    this.#sql.exec(
      "UPDATE outgoing SET stage = 'announced', attempts = 0, reason = '', due_at = ? WHERE id = ?",
      now,
      id,
    );
  }

  settle({ id }: Pick<Outgoing, 'id'>): void {
    this.#delete(id);
    this.#sql.exec('INSERT INTO settled VALUES (1, 1) ON CONFLICT DO UPDATE SET count = count + 1');
  }

  park({ id }: Pick<Outgoing, 'id'>, reason: string): void {
    this.#sql.exec("UPDATE outgoing SET stage = 'parked', reason = ? WHERE id = ?", reason, id);
  }

  /** Makes parked pushes, and those that wait after a failure, due now. @returns how many there are */
  retry(now: number): number {
    return this.#rows(
      `UPDATE outgoing SET stage = iif(stage = 'parked', 'pending', stage), attempts = 0, due_at = ?
        WHERE stage <> 'noted' AND (stage = 'parked' OR attempts > 0) RETURNING id`,
      now,
    ).length;
  }

  /** Lists parked pushes, the oldest first. */
  parked(limit: number): Outgoing[] {
    return this.#rows("SELECT * FROM outgoing WHERE stage = 'parked' ORDER BY id LIMIT ?", limit).map(outgoingIn);
  }

  counts(): OutgoingCounts {
    const counted = this.#rows('SELECT stage, count(*) AS count FROM outgoing GROUP BY stage');
    const of = (stage: Stage): number => Number(counted.find((row) => row['stage'] === stage)?.['count'] ?? 0);
    const settled = Number(this.#first('SELECT count FROM settled')?.['count'] ?? 0);
    return { pending: of('pending'), announced: of('announced'), settled, parked: of('parked') };
  }

  /** Returns a repository that a blob was forwarded to. */
  repositoryWith(digest: Digest): RepositoryName | undefined {
    return this.#first('SELECT repository FROM forwarded WHERE digest = ?', digest)?.['repository'] as
      | RepositoryName
      | undefined;
  }

  noteBlob(digest: Digest, repository: RepositoryName, now: number): void {
    this.#sql.exec('INSERT OR REPLACE INTO forwarded VALUES (?, ?, ?)', digest, repository, now);
    this.#writes += 1;
    if (this.#writes % WRITES_A_LOOK !== 0) return;
    this.#sql.exec(
      'DELETE FROM forwarded WHERE at <= (SELECT at FROM forwarded ORDER BY at DESC LIMIT 1 OFFSET ?)',
      MAX_BLOBS,
    );
  }

  /** Returns the location at which an unfinished upload to the upstream continues (`UploadRecords`). */
  upload(key: string): string | undefined {
    return this.#first('SELECT location FROM forward_uploads WHERE key = ?', key)?.['location'] as string | undefined;
  }

  setUpload(key: string, location: string): void {
    this.#sql.exec('INSERT OR REPLACE INTO forward_uploads VALUES (?, ?)', key, location);
  }

  removeUpload(key: string): void {
    this.#sql.exec('DELETE FROM forward_uploads WHERE key = ?', key);
  }

  /** Makes all pushes pending again, because the mirror may have another upstream now. */
  beginAgain(now: number): void {
    for (const table of ['forwarded', 'forward_uploads']) this.#sql.exec(`DELETE FROM ${table}`);
    this.#sql.exec("UPDATE outgoing SET stage = 'pending', attempts = 0, due_at = ? WHERE stage <> 'noted'", now);
  }

  /** Forgets everything. */
  clear(): void {
    for (const table of ['outgoing', 'settled', 'forwarded', 'forward_uploads']) this.#sql.exec(`DELETE FROM ${table}`);
  }

  #delete(id: number): void {
    this.#sql.exec('DELETE FROM outgoing WHERE id = ?', id);
  }

  #first(query: string, ...values: SqlStorageValue[]): Row | undefined {
    return this.#rows(query, ...values)[0];
  }

  #rows(query: string, ...values: SqlStorageValue[]): Row[] {
    return this.#sql.exec<Row>(query, ...values).toArray();
  }
}

function columnOf(reference: string): 'digest' | 'tag' {
  return reference.includes(':') ? 'digest' : 'tag';
}

function outgoingIn(row: Row): Outgoing {
  const tag = row['tag'] as Tag | '';
  return {
    id: Number(row['id']),
    repository: row['repository'] as RepositoryName,
    tag: tag === '' ? undefined : tag,
    manifest: {
      digest: row['digest'] as Digest,
      mediaType: row['media_type'] as MediaType,
      size: Number(row['size']),
    },
    stage: row['stage'] as Stage,
    version: Number(row['version']),
    notedAt: Number(row['noted_at']),
    attempts: Number(row['attempts']),
    reason: row['reason'] as string,
  };
}
