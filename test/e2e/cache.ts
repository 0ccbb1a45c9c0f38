import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What is costly to make and safe to lose: images and programs. */
export const CACHE = join(fileURLToPath(new URL('../..', import.meta.url)), 'node_modules/.cache/berth');
