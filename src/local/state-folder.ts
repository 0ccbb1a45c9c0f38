/**
 * The folder of a local run's state. It holds secrets and the bytes of private images, so nobody but its owner may look
 * inside.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What a start leaves in it, by which a later one knows its own folder. */
export const SECRETS = 'secrets.json';

/** Written before the databases are made. Versions before 0.2.0, whose databases had another schema, wrote none. */
const SCHEMA = 'schema';
const FIRST_MIGRATION = '0001_berth.sql';

/** Where the simulators keep databases. */
const DATABASES = 'd1';

const OTHERS = 0o077;

/** The folder's databases have a schema that no migration leads on from. */
export class OldState extends Error {
  override readonly name = 'OldState';
}

/**
 * Makes the folder, or closes one that an earlier start left open to others. A folder that holds something else is
 * somebody's for another purpose, and keeps its mode.
 * @returns what the user is to be told, if others can look inside
 * @throws OldState, and changes nothing in the folder then
 */
export function openStateFolder(path: string): string | undefined {
  const schema = join(path, SCHEMA);
  if (existsSync(join(path, DATABASES)) && !existsSync(schema)) {
    throw new OldState(
      `the databases in ${path} were made by a version before 0.2.0, and this version cannot read them: ` +
        'move or delete that folder, then start again',
    );
  }
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const names = readdirSync(path);
  writeFileSync(schema, `${FIRST_MIGRATION}\n`, { mode: 0o600 });
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
