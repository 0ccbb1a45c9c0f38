/** Remembers unfinished uploads from one push to the next, in files that the user alone can read. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { UploadRecords } from '../../src/oci-client/blob-upload.ts';

/** Each upload has a file of its own, because several pushes may run at once. */
export class UploadFiles implements UploadRecords {
  readonly #folder: string;

  constructor(folder = defaultFolder()) {
    this.#folder = folder;
  }

  async read(key: string): Promise<string | undefined> {
    return readFile(this.#fileOf(key), 'utf8').catch(() => undefined);
  }

  async write(key: string, location: string): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const file = this.#fileOf(key);
    const partial = `${file}.${process.pid}`;
    await writeFile(partial, location, { mode: 0o600 });
    await rename(partial, file);
  }

  async remove(key: string): Promise<void> {
    await rm(this.#fileOf(key), { force: true });
  }

  #fileOf(key: string): string {
    return join(this.#folder, createHash('sha256').update(key).digest('hex'));
  }
}

/** XDG Base Directory Specification, "XDG_STATE_HOME". */
function defaultFolder(): string {
  const state = process.env['XDG_STATE_HOME'] ?? '';
  return join(state === '' ? join(homedir(), '.local', 'state') : state, 'berth', 'uploads');
}
