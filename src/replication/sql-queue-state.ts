/** A queue's state in the SQLite storage of its Durable Object. */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';
import { HOUR } from '../durations.ts';
import { Figures, readHour } from './figures.ts';
import { type Job, LONGEST_DELAY_MILLISECONDS } from './machine.ts';
import {
  type Counter,
  type CopyDown,
  type Histogram,
  type HourFigures,
  HOURS_KEPT,
  type Measure,
  type NamedJob,
  type Progress,
  type QueueState,
} from './queue-state.ts';
import { SqlCopiesDown } from './sql-copies-down.ts';

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, attempts INTEGER NOT NULL, next_at INTEGER NOT NULL, parked INTEGER NOT NULL,
      error TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS jobs_next ON jobs (next_at) WHERE parked = 0;
  CREATE INDEX IF NOT EXISTS jobs_parked ON jobs (id) WHERE parked = 1;
  CREATE TABLE IF NOT EXISTS progress (copy TEXT PRIMARY KEY, progress TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS hours (slot INTEGER PRIMARY KEY, at INTEGER NOT NULL, figures TEXT NOT NULL) STRICT;`;

/** Returns the row of an hour. The rows are a ring: an hour takes the place of the one 90 days before it. */
const slotOf = (at: number): number => (at / HOUR) % HOURS_KEPT;

interface JobRow extends Record<string, SqlStorageValue> {
  readonly id: string;
  readonly attempts: number;
  readonly next_at: number;
  readonly parked: number;
  readonly error: string;
}

export class SqlQueueState implements QueueState {
  readonly #sql: SqlStorage;
  readonly #copiesDown: SqlCopiesDown;
  /** The progress of copies in one piece. A row for each would cost as much as the row that names the object. */
  readonly #wholeCopies = new Map<string, Progress>();
  readonly #figures: Figures;

  constructor(sql: SqlStorage, now: () => number = Date.now) {
    this.#sql = sql;
    sql.exec(SCHEMA);
    this.#copiesDown = new SqlCopiesDown(sql);
    this.#figures = new Figures(this.#setting('figures'), now);
  }

  job(id: string): Job | undefined {
    return this.#jobs('SELECT * FROM jobs WHERE id = ?', id)[0];
  }

  setJob(id: string, { attempts, nextAt, parked, error }: Job): void {
    this.#sql.exec('INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?)', id, attempts, nextAt, parked ? 1 : 0, error);
  }

  forgetJob(id: string): void {
    this.#sql.exec('DELETE FROM jobs WHERE id = ?', id);
  }

  forgetJobs(prefix: string): void {
    this.#sql.exec('DELETE FROM jobs WHERE id >= ? AND id < ?', prefix, `${prefix}\u{10ffff}`);
  }

  waitingJobs(prefix: string, now: number, limit: number): readonly NamedJob[] {
    const end = `${prefix}\u{10ffff}`;
    return this.#jobs(
      `SELECT * FROM jobs WHERE id >= ? AND id < ? AND (parked = 1 OR (next_at > ? AND next_at <= ?))
       ORDER BY id LIMIT ?`,
      prefix,
      end,
      now,
      now + LONGEST_DELAY_MILLISECONDS,
      limit,
    );
  }

  parkedJobs(after: string, limit: number): readonly NamedJob[] {
    return this.#jobs('SELECT * FROM jobs WHERE parked = 1 AND id > ? ORDER BY id LIMIT ?', after, limit);
  }

  parkedCount(): number {
    return this.#number('SELECT count(*) AS value FROM jobs WHERE parked = 1');
  }

  nextAttempt(after: number, now: number): number | undefined {
    const [row] = this.#sql
      .exec<{ value: number | null }>(
        'SELECT min(next_at) AS value FROM jobs WHERE parked = 0 AND next_at > ? AND next_at <= ?',
        after,
        now + LONGEST_DELAY_MILLISECONDS,
      )
      .toArray();
    return row?.value ?? undefined;
  }

  retry(id: string | undefined): number {
    const changes = 'attempts = 0, next_at = 0, parked = 0';
    const cursor =
      id === undefined
        ? this.#sql.exec(`UPDATE jobs SET ${changes} WHERE parked = 1 RETURNING id`)
        : this.#sql.exec(`UPDATE jobs SET ${changes} WHERE id = ? RETURNING id`, id);
    return cursor.toArray().length;
  }

  dueCopiesDown(now: number, after: string, limit: number): readonly CopyDown[] {
    return this.#copiesDown.due(now, after, limit);
  }

  copiesDownLeft(repository: RepositoryName, digests: readonly Digest[]): number {
    return this.#copiesDown.left(repository, digests);
  }

  copyDownCount(): number {
    return this.#copiesDown.count();
  }

  addCopyDown(copyDown: CopyDown): boolean {
    return this.#copiesDown.add(copyDown);
  }

  removeCopyDown(copyDown: CopyDown): void {
    this.#copiesDown.remove(copyDown);
  }

  progress(copy: string): Progress | undefined {
    const whole = this.#wholeCopies.get(copy);
    if (whole !== undefined) return whole;
    const [row] = this.#sql.exec<{ progress: string }>('SELECT progress FROM progress WHERE copy = ?', copy).toArray();
    return row === undefined ? undefined : (JSON.parse(row.progress) as Progress);
  }

  setProgress(copy: string, progress: Progress): void {
    if (progress.uploadId === undefined) this.#wholeCopies.set(copy, progress);
    else this.#sql.exec('INSERT OR REPLACE INTO progress VALUES (?, ?)', copy, JSON.stringify(progress));
  }

  forgetProgress(copy: string): void {
    this.#wholeCopies.delete(copy);
    this.#sql.exec('DELETE FROM progress WHERE copy = ?', copy);
  }

  paused(): boolean {
    return this.#setting('paused') === '1';
  }

  setPaused(paused: boolean): void {
    this.#set('paused', paused ? '1' : '0');
  }

  count(counter: Counter, by = 1): void {
    this.#figures.count(counter, by);
  }

  counter(counter: Counter): number {
    return this.#figures.counter(counter);
  }

  observe(measure: Measure, seconds: number): void {
    this.#figures.observe(measure, seconds);
  }

  histogram(measure: Measure): Histogram {
    return this.#figures.histogram(measure);
  }

  saveFigures(): void {
    const changed = this.#figures.takeChanged();
    if (changed === undefined) return;
    this.#set('figures', changed.figures);
    for (const { at, stored } of changed.ended)
      this.#sql.exec('INSERT OR REPLACE INTO hours VALUES (?, ?, ?)', slotOf(at), at, stored);
  }

  /** Whether the current hour has figures, but no note yet of the bytes that the store holds. */
  get lacksHeld(): boolean {
    return this.#figures.lacksHeld;
  }

  /** Notes the bytes that the store holds, and saves them: a queue that loses its memory need not ask again. */
  noteHeld(bytes: number | null): void {
    this.#figures.noteHeld(bytes);
    this.saveFigures();
  }

  /** Returns the hours with figures among the last `count`, the current one included, oldest first. */
  hours(count: number): readonly HourFigures[] {
    // A figure that was read must not fall, so it is stored first, as counters are.
    this.saveFigures();
    const current = this.#figures.currentHour();
    const slots = Array.from({ length: Math.min(count, HOURS_KEPT) - 1 }, (_, i) =>
      slotOf(current.at - (i + 1) * HOUR),
    );
    const ended = this.#sql
      .exec<{ figures: string }>(
        `SELECT h.figures FROM json_each(?) AS asked CROSS JOIN hours h ON h.slot = asked.value
         WHERE h.at > ? AND h.at < ? ORDER BY h.at`,
        JSON.stringify(slots),
        current.at - count * HOUR,
        current.at,
      )
      .toArray()
      .map(({ figures }) => readHour(figures));
    return Object.keys(current.counters).length === 0 ? ended : [...ended, current];
  }

  #setting(name: string): string | undefined {
    return this.#sql.exec<{ value: string }>('SELECT value FROM settings WHERE name = ?', name).toArray()[0]?.value;
  }

  #set(name: string, value: string): void {
    this.#sql.exec('INSERT OR REPLACE INTO settings VALUES (?, ?)', name, value);
  }

  #number(query: string): number {
    return this.#sql.exec<{ value: number }>(query).one().value;
  }

  #jobs(query: string, ...parameters: (string | number)[]): NamedJob[] {
    return this.#sql
      .exec<JobRow>(query, ...parameters)
      .toArray()
      .map(({ id, attempts, next_at: nextAt, parked, error }) => ({
        id,
        attempts,
        nextAt,
        parked: parked === 1,
        error,
      }));
  }
}
