/**
 * The list of blobs to copy down, in the SQLite storage of a queue's Durable Object. Its index leads from one
 * organization to the next, and to the earliest requests of each. So a look-up of the copies that are due reads about
 * as many rows as it returns, plus those of jobs that wait for their next attempt.
 */
import type { Digest } from '../oci/digest.ts';
import { type OrganizationName, organizationOf, type RepositoryName } from '../oci/reference.ts';
import { LONGEST_DELAY_MILLISECONDS } from './machine.ts';
import { type CopyDown, hasRoomForCopyDown } from './queue-state.ts';

const ORGANIZATION = "substr(repository, 1, instr(repository, '/') - 1)";

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS copies_down (
    position INTEGER PRIMARY KEY, repository TEXT NOT NULL, digest TEXT NOT NULL, UNIQUE (repository, digest)
  ) STRICT;
  CREATE INDEX IF NOT EXISTS copies_down_in_turn ON copies_down (${ORGANIZATION}, position);`;

const SELECT_NEXT = `
  SELECT ${ORGANIZATION} AS organization FROM copies_down INDEXED BY copies_down_in_turn
  WHERE ${ORGANIZATION} > ? AND ${ORGANIZATION} <= ? ORDER BY 1 LIMIT 1`;
const SELECT_DUE = `
  SELECT c.repository, c.digest FROM copies_down c INDEXED BY copies_down_in_turn
  LEFT JOIN jobs j ON j.id = 'copy down ' || c.repository || ' ' || c.digest
  WHERE ${ORGANIZATION} = ? AND (j.id IS NULL OR (j.parked = 0 AND (j.next_at <= ? OR j.next_at > ?)))
  ORDER BY c.position LIMIT ?`;
const INSERT = 'INSERT INTO copies_down (repository, digest) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING position';
const DELETE = 'DELETE FROM copies_down WHERE repository = ? AND digest = ? RETURNING position';
const SELECT_COUNTS = `
  SELECT ${ORGANIZATION} AS organization, count(*) AS count FROM copies_down INDEXED BY copies_down_in_turn GROUP BY 1`;

/** Sorts after every organization. */
const END = '~';

interface Counts {
  all: number;
  readonly of: Map<OrganizationName, number>;
}

export class SqlCopiesDown {
  readonly #sql: SqlStorage;
  #counts: Counts | undefined;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(SCHEMA);
  }

  /** See `QueueState.dueCopiesDown`. */
  due(now: number, after: string, limit: number): readonly CopyDown[] {
    const organizations: OrganizationName[] = [];
    for (const organization of this.#organizationsFrom(after)) {
      if (this.#dueOf(organization, now, 1).length > 0) organizations.push(organization);
      if (organizations.length === limit) break;
    }
    // Some organizations may have only a few copies, so this doubles the number taken from each until there are enough.
    for (let each = Math.ceil(limit / Math.max(1, organizations.length)); ; each *= 2) {
      const queues = organizations.map((organization) => this.#dueOf(organization, now, each));
      const found = queues.reduce((sum, { length }) => sum + length, 0);
      if (found >= limit || queues.every(({ length }) => length < each)) return inTurn(queues).slice(0, limit);
    }
  }

  left(repository: RepositoryName, digests: readonly Digest[]): number {
    return this.#sql
      .exec<{ value: number }>(
        `SELECT count(*) AS value FROM json_each(?) AS asked
         CROSS JOIN copies_down c ON c.repository = ? AND c.digest = asked.value`,
        JSON.stringify(digests),
        repository,
      )
      .one().value;
  }

  count(): number {
    return this.#sql.exec<{ value: number }>('SELECT count(*) AS value FROM copies_down').one().value;
  }

  /** See `QueueState.addCopyDown`. */
  add({ repository, digest }: CopyDown): boolean {
    const counts = this.#counted();
    const organization = organizationOf(repository);
    if (!hasRoomForCopyDown(counts.of.get(organization) ?? 0, counts.all)) return this.left(repository, [digest]) > 0;
    const added = this.#sql.exec(INSERT, repository, digest).toArray().length;
    this.#note(counts, organization, added);
    return true;
  }

  remove({ repository, digest }: CopyDown): void {
    const counts = this.#counted();
    const removed = this.#sql.exec(DELETE, repository, digest).toArray().length;
    this.#note(counts, organizationOf(repository), -removed);
  }

  /** Returns the organizations with copies to make, by name, starting after `after` and wrapping around. */
  *#organizationsFrom(after: string): Generator<OrganizationName> {
    for (const [start, end] of [
      [after, END],
      ['', after],
    ] as const) {
      for (let last: string | undefined = start; last !== undefined;) {
        const [next] = this.#sql.exec<{ organization: OrganizationName }>(SELECT_NEXT, last, end).toArray();
        if (next !== undefined) yield next.organization;
        last = next?.organization;
      }
    }
  }

  #dueOf(organization: OrganizationName, now: number, limit: number): CopyDown[] {
    return this.#sql
      .exec<{ repository: RepositoryName; digest: Digest }>(
        SELECT_DUE,
        organization,
        now,
        now + LONGEST_DELAY_MILLISECONDS,
        limit,
      )
      .toArray()
      .map(({ repository, digest }) => ({ repository, digest }));
  }

  /**
   * Returns the number of copies of each organization. They are counted once, because each request needs the counts.
   */
  #counted(): Counts {
    if (this.#counts !== undefined) return this.#counts;
    const rows = this.#sql.exec<{ organization: OrganizationName; count: number }>(SELECT_COUNTS).toArray();
    const of = new Map(rows.map(({ organization, count }) => [organization, count]));
    return (this.#counts = { all: rows.reduce((sum, { count }) => sum + count, 0), of });
  }

  #note(counts: Counts, organization: OrganizationName, more: number): void {
    const own = (counts.of.get(organization) ?? 0) + more;
    counts.all += more;
    if (own > 0) counts.of.set(organization, own);
    else counts.of.delete(organization);
  }
}

/** Returns the first of each queue, then the second of each, and so on. */
function inTurn(queues: readonly (readonly CopyDown[])[]): CopyDown[] {
  const longest = Math.max(0, ...queues.map(({ length }) => length));
  return Array.from({ length: longest }, (_, turn) => queues.flatMap((queue) => queue[turn] ?? [])).flat();
}
