/** Remembers unfinished uploads from one push to the next, in files that the user alone can read. */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { UploadRecords } from '../../src/oci-client/blob-upload.ts';

/** Registries keep an unfinished upload for a day or a few. */
const KEPT_MS = 7 * 86_400_000;

/** Each upload has a file of its own, because several pushes may run at once. */
export class UploadFiles implements UploadRecords {
  readonly #folder: string;

  constructor(folder = defaultFolder()) {
    this.#folder = folder;
  }

  /** Forgets uploads that no registry still knows. */
  async prune(): Promise<void> {
    for (const name of await readdir(this.#folder).catch(() => [])) {
      const file = join(this.#folder, name);
      const written = (await stat(file).catch(() => undefined))?.mtimeMs ?? Date.now();
      if (Date.now() - written > KEPT_MS) await rm(file, { force: true });
    }
  }

  /** @returns undefined also while another process still sends into the upload */
  async read(key: string): Promise<string | undefined> {
    const record = await readFile(this.#fileOf(key), 'utf8').catch(() => undefined);
    const [location, writer] = record?.split('\n') ?? [];
    return isOtherProcess(Number(writer)) ? undefined : location;
  }

  async write(key: string, location: string): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const file = this.#fileOf(key);
    const partial = `${file}.${process.pid}`;
    await writeFile(partial, `${location}\n${process.pid}`, { mode: 0o600 });
    await rename(partial, file);
  }

  async remove(key: string): Promise<void> {
    await rm(this.#fileOf(key), { force: true });
  }

  #fileOf(key: string): string {
    return join(this.#folder, createHash('sha256').update(key).digest('hex'));
  }
}

function isOtherProcess(id: number): boolean {
  if (!(id > 0) || id === process.pid) return false;
  try {
    process.kill(id, 0);
    return true;
  } catch (error) {
    // Another user's process can't be signalled, but it runs.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** XDG Base Directory Specification, "XDG_STATE_HOME". */
function defaultFolder(): string {
  const state = process.env['XDG_STATE_HOME'] ?? '';
  return join(state === '' ? join(homedir(), '.local', 'state') : state, 'berth', 'uploads');
}
