import type { Change } from '../support/registry-changes.ts';

/** The work that the run did, for its report. */
export class Tally {
  kills = 0;
  /** Interrupted jobs that were run again. */
  repeated = 0;
  readonly compared = { bytes: 0 };
  readonly #acknowledged = new Map<string, number>();
  readonly #interrupted = new Map<string, { done: number; notDone: number }>();

  acknowledge({ name }: Change): void {
    this.#acknowledged.set(name, (this.#acknowledged.get(name) ?? 0) + 1);
  }

  interrupt({ name }: Change, done: boolean): void {
    const counts = this.#interrupted.get(name) ?? { done: 0, notDone: 0 };
    counts[done ? 'done' : 'notDone']++;
    this.#interrupted.set(name, counts);
  }

  report(): string {
    const names = [...new Set([...this.#acknowledged.keys(), ...this.#interrupted.keys()])].toSorted();
    const rows = names.map((name) => {
      const { done, notDone } = this.#interrupted.get(name) ?? { done: 0, notDone: 0 };
      return `  ${name.padEnd(24)} ${String(this.#acknowledged.get(name) ?? 0).padStart(12)} ${String(done + notDone).padStart(11)} ${String(done).padStart(6)}`;
    });
    const total = [...this.#acknowledged.values()].reduce((sum, count) => sum + count, 0);
    return [
      `  ${'request'.padEnd(24)} ${'acknowledged'.padStart(12)} ${'interrupted'.padStart(11)} ${'(done)'.padStart(6)}`,
      ...rows,
      `${this.kills} kills, ${total} acknowledged changes, ${this.repeated} interrupted jobs done again, ${(this.compared.bytes / 1e9).toFixed(2)} GB compared`,
    ].join('\n');
  }
}
