/** The folder of a local run's state. It holds secrets and the bytes of private images, so nobody but its owner may look inside. */
import { chmodSync, mkdirSync, readdirSync, statSync } from 'node:fs';

/** What a start leaves in it, by which a later one knows its own folder. */
export const SECRETS = 'secrets.json';

const OTHERS = 0o077;

/**
 * Makes the folder, or closes one that an earlier start left open to others. A folder that holds something else is somebody's
 * for another purpose, and keeps its mode.
 * @returns what the user is to be told, if others can look inside
 */
export function openStateFolder(path: string): string | undefined {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const names = readdirSync(path);
  if ((statSync(path).mode & OTHERS) === 0) return undefined;
  const warning = `${path} can be read by other users of this machine: chmod 700 ${path}`;
  if (names.length > 0 && !names.includes(SECRETS)) return warning;
  try {
    chmodSync(path, 0o700);
    return undefined;
  } catch {
    return warning;
  }
}
