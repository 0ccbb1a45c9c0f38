/** Injects the faults of a plan into calls to stores. */
import { HOST_NAMES, type HostName, type Hosts } from '../support/hosts.ts';
import { OPEN } from '../support/links.ts';
import { stalledCall } from '../support/stalled-calls.ts';
import type { Fault, Operation } from './operations.ts';

export class Unreachable extends Error {
  override readonly name = 'Unreachable';
}

export class Faults {
  readonly #hosts: Hosts;
  readonly #late: (() => Promise<unknown>)[] = [];

  constructor(hosts: Hosts) {
    this.#hosts = hosts;
  }

  /**
   * Does some work under a fault.
   * @param meanwhile runs the operation that happens while a call is held
   */
  async during(
    fault: Fault | null,
    work: () => Promise<void>,
    meanwhile: (operation: Operation) => Promise<void>,
  ): Promise<void> {
    if (fault !== null) this.#set(fault, meanwhile);
    try {
      await work();
    } finally {
      for (const name of HOST_NAMES) this.#hosts[name].gate = OPEN;
    }
  }

  /** Returns the work that is still to be done, too late for its caller. */
  late(): (() => Promise<unknown>)[] {
    return this.#late.splice(0);
  }

  async catchUp(): Promise<void> {
    for (const work of this.late()) await work();
  }

  #set({ store, call, effect }: Fault, meanwhile: (operation: Operation) => Promise<void>): void {
    let calls = 0;
    const host = this.#hosts[store];
    host.gate = async (name, work) => {
      const at = calls++;
      if (at < call || (at > call && effect !== 'away')) return work();
      switch (effect) {
        case 'before':
        case 'away':
          throw new Unreachable(`${store} was not reached`);
        case 'after':
          await work();
          throw new Unreachable(`${store} has not answered`);
        case 'stalls':
        case 'stalls after': {
          const done = effect === 'stalls' ? Promise.resolve() : work();
          // A put's deadline may begin only once its body is handed over, so `stalledCall` cannot pass it.
          if (name !== 'put') return stalledCall(done);
          await done;
          throw new Unreachable(`${store} has not answered`);
        }
        case 'late':
          // A late put is dropped, because the body of an object ends with its request.
          if (name === 'batch') this.#late.push(work);
          throw new Unreachable(`${store} will do it later`);
        default: {
          const gates = this.#openAll();
          await meanwhile(effect);
          for (const [held, gate] of gates) this.#hosts[held].gate = gate;
          return work();
        }
      }
    };
  }

  #openAll(): [HostName, Hosts['central']['gate']][] {
    return HOST_NAMES.map((name) => {
      const { gate } = this.#hosts[name];
      this.#hosts[name].gate = OPEN;
      return [name, gate];
    });
  }
}
