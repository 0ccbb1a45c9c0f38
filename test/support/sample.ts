/**
 * What `npm test` carries out of the suites with very many cases: one in {@link SAMPLE}. `npm run test:long` carries
 * out all.
 */
import { env } from 'cloudflare:workers';

declare global {
  namespace Cloudflare {
    interface Env {
      readonly SAMPLE: number;
    }
  }
}

/** 1 for all. */
export const SAMPLE = env.SAMPLE;

export function sampled<T>(cases: readonly T[]): T[] {
  return cases.filter((_, i) => i % SAMPLE === 0);
}
