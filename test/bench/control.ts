/** The private routes of worker.js: counts, the distance of a store, rows. */
import { call } from './http.ts';
import type { Profile } from '../support/deployment-profile.ts';
import { until } from './measure.ts';
import { NONE, type Operations, sum } from './prices.ts';

export type Scope = 'request' | 'wake' | 'alarm' | 'slices';

interface Count extends Operations {
  readonly scope: Scope;
  /** The name of a store, or `worker` or `queues`. */
  readonly store: string;
}

export interface Where {
  readonly scope?: Scope;
  readonly store?: string;
}

export type Slices = Pick<Operations, 'roundTrips' | 'rowsRead' | 'rowsWritten'>;

export class Control {
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
  }

  async resetCounts(): Promise<void> {
    await this.#post('/bench/reset', 204);
  }

  /** Returns the operations on the bindings since the counts were reset. */
  async counts({ scope, store }: Where = {}): Promise<Operations> {
    const { body } = await call(200, { port: this.#port, method: 'GET', path: '/bench/counts', keep: true });
    return (JSON.parse(body.toString()) as Count[])
      .filter((count) => (scope ?? count.scope) === count.scope && (store ?? count.store) === count.store)
      .map(({ scope: _scope, store: _store, ...operations }) => operations)
      .reduce<Operations>(sum, NONE);
  }

  /** Returns the operations of one piece of work on the bindings, including the work after its responses. */
  async countsOf(work: () => Promise<unknown>, where: Where = {}): Promise<Operations> {
    await this.quiet();
    await this.resetCounts();
    await work();
    await this.quiet();
    return this.counts(where);
  }

  /** Waits until nothing uses the bindings. */
  async quiet(): Promise<void> {
    let [last, since] = ['', Date.now()];
    await until('the bindings are quiet', async () => {
      const counts = JSON.stringify(await this.counts());
      if (counts !== last) [last, since] = [counts, Date.now()];
      return Date.now() - since > 150;
    });
  }

  /** Sets the delay of each call to a store, in milliseconds, and makes the store fail every call or answer none. */
  async link(store: string, delay: number, state: 'here' | 'away' | 'stalled' = 'here'): Promise<void> {
    await this.#post('/bench/link', 204, { store, delay, away: state === 'away', stalled: state === 'stalled' });
  }

  /** Makes D1 and R2 as slow as in a deployment, in addition to the delays of links; undefined ends that. */
  async profile(profile: Profile | undefined): Promise<void> {
    await this.#post('/bench/profile', 204, profile);
  }

  /** Runs statements, and returns the rows of the last one. */
  async sql<Result>(store: string, ...statements: readonly string[]): Promise<Result[]> {
    return JSON.parse((await this.#post('/bench/sql', 200, { store, statements })).toString()) as Result[];
  }

  /**
   * Collects at central, or evicts from a node, for some milliseconds, as maintenance does.
   * @returns the most that one slice asked of D1
   */
  async slices(store: string, milliseconds: number, limits?: { readonly bytes: number }): Promise<Slices> {
    return JSON.parse((await this.#post('/bench/slices', 200, { store, milliseconds, limits })).toString()) as Slices;
  }

  /** Waits until the nodes have announced everything, and central has all bytes. */
  async settled(every = 20): Promise<void> {
    await until(
      'everything has settled',
      async () =>
        (await this.#rows('central', 'locations WHERE copy_up_for IS NOT NULL')) === 0 && (await this.announced()),
      {
        every,
      },
    );
  }

  async announced(): Promise<boolean> {
    return (await this.#rows('node1', 'outbox')) === 0 && (await this.#rows('node2', 'outbox')) === 0;
  }

  async #rows(store: string, table: string): Promise<number> {
    return (await this.sql<{ rows: number }>(store, `SELECT count(*) AS rows FROM ${table}`))[0]?.rows ?? 0;
  }

  async #post(path: string, status: number, body: object = {}): Promise<Buffer> {
    const options = { port: this.#port, method: 'POST', path, body: Buffer.from(JSON.stringify(body)), keep: true };
    return (await call(status, options)).body;
  }
}
