import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** For images and programs: costly to make, and safe to delete. */
export const CACHE = join(fileURLToPath(new URL('../..', import.meta.url)), 'node_modules/.cache/berth');
