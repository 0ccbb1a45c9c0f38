/**
 * Runs the prefetches of a node's queue one at a time. Each holds a manifest of up to 4 MiB in memory, several times
 * over, and a Durable Object has 128 MB.
 */
import type { OrganizationName } from '../oci/reference.ts';

/** The most prefetches of one organization that may run or wait, so that it cannot delay those of others for long. */
export const PREFETCHES_OF_ORGANIZATION = 8;

export class Prefetches {
  #last: Promise<void> = Promise.resolve();
  readonly #counts = new Map<OrganizationName, number>();

  /** Runs a prefetch once all earlier ones have ended. Refuses it if the organization has too many already. */
  async run<Result>(organization: OrganizationName, prefetch: () => Promise<Result>): Promise<Result | 'too many'> {
    const count = this.#counts.get(organization) ?? 0;
    if (count >= PREFETCHES_OF_ORGANIZATION) return 'too many';
    this.#counts.set(organization, count + 1);
    const earlier = this.#last;
    const ended = Promise.withResolvers<void>();
    this.#last = ended.promise;
    try {
      await earlier;
      return await prefetch();
    } finally {
      ended.resolve();
      this.#leave(organization);
    }
  }

  #leave(organization: OrganizationName): void {
    const count = (this.#counts.get(organization) ?? 0) - 1;
    if (count > 0) this.#counts.set(organization, count);
    else this.#counts.delete(organization);
  }
}
