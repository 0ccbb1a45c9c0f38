/**
 * The state folder of a local run. It holds secrets and the bytes of private images, so only its owner may look inside.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A file that every start leaves in the folder. A later start recognizes its own folder by it. */
export const SECRETS = 'secrets.json';

/**
 * A file that is written before the databases are created. Versions before 0.2.0, whose databases had another schema,
 * did not write it.
 */
const SCHEMA = 'schema';
const FIRST_MIGRATION = '0001_berth.sql';

/** The folder where the simulators keep databases. */
const DATABASES = 'd1';

const OTHERS = 0o077;

/** The error for a folder whose databases no migration can bring up to date. */
export class OldState extends Error {
  override readonly name = 'OldState';
}

/**
 * Creates the folder, or makes an existing one private. If the folder holds something else, it was made for another
 * purpose, so its mode is not changed.
 * @returns a warning for the user if others can look inside
 * @throws OldState, without changing anything in the folder
 */
export function openStateFolder(path: string): string | undefined {
  const schema = join(path, SCHEMA);
  if (existsSync(join(path, DATABASES)) && !existsSync(schema)) {
    throw new OldState(
      `the databases in ${path} were created by a version before 0.2.0, and this version cannot read them: ` +
        'move or delete that folder, then start again',
    );
  }
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const names = readdirSync(path);
  writeFileSync(schema, `${FIRST_MIGRATION}\n`, { mode: 0o600 });
  if ((statSync(path).mode & OTHERS) === 0) return undefined;
  const warning = `other users of this machine can read ${path}: run chmod 700 ${path}`;
  if (names.length > 0 && !names.includes(SECRETS)) return warning;
  try {
    chmodSync(path, 0o700);
    return undefined;
  } catch {
    return warning;
  }
}
