/**
 * Samples suites with very many cases. `npm test` runs one case in {@link SAMPLE}, and `npm run test:long` runs all.
 */
import { env } from 'cloudflare:workers';

declare global {
  namespace Cloudflare {
    interface Env {
      readonly SAMPLE: number;
    }
  }
}

/** 1 to run all cases. */
export const SAMPLE = env.SAMPLE;

export function sampled<T>(cases: readonly T[]): T[] {
  return cases.filter((_, i) => i % SAMPLE === 0);
}
