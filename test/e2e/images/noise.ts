import { createCipheriv, createHash } from 'node:crypto';
import type { Content } from './tar.ts';

const MEBIBYTE = 2 ** 20;

/** Generates incompressible bytes, the same for the same seed, without holding them all in memory. */
export function noise(seed: string, mebibytes: number): Content {
  return {
    size: mebibytes * MEBIBYTE,
    *read() {
      const key = createHash('sha256').update(seed).digest();
      const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
      const zeros = Buffer.alloc(MEBIBYTE);
      for (let index = 0; index < mebibytes; index += 1) yield cipher.update(zeros);
    },
  };
}
