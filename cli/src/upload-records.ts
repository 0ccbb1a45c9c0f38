/** Remembers unfinished uploads from one push to the next, in files that the user alone can read. */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { UploadRecords } from '../../src/oci-client/blob-upload.ts';

/** Registries keep an unfinished upload for a few days at most. */
const KEPT_MS = 7 * 86_400_000;

/**
 * Each upload of each process has a file of its own, because several pushes may run at once, even of one blob. A push
 * takes over an ended push's file by renaming it, so no two pushes continue the same upload.
 */
export class UploadFiles implements UploadRecords {
  readonly #folder: string;
  readonly #process: number;

  constructor(folder = defaultFolder(), processId = process.pid) {
    this.#folder = folder;
    this.#process = processId;
  }

  /** Forgets uploads that no registry still knows. */
  async prune(): Promise<void> {
    for (const name of await this.#names()) {
      const file = join(this.#folder, name);
      const written = (await stat(file).catch(() => undefined))?.mtimeMs ?? Date.now();
      if (Date.now() - written > KEPT_MS) await rm(file, { force: true });
    }
  }

  /** @returns undefined if the blob has no upload, or only uploads that other processes still send into */
  async read(key: string): Promise<string | undefined> {
    const own = this.#fileOf(key);
    for (const file of await this.#free(key)) {
      try {
        await rename(file, own);
        return await readFile(own, 'utf8');
      } catch {
        // Another push was faster.
      }
    }
    return undefined;
  }

  async write(key: string, location: string): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const file = this.#fileOf(key);
    const partial = `${file}.partial`;
    await writeFile(partial, location, { mode: 0o600 });
    await rename(partial, file);
  }

  /** Forgets uploads of the blob that no other process sends into. */
  async remove(key: string): Promise<void> {
    for (const file of await this.#free(key)) await rm(file, { force: true });
  }

  /** Returns the files of a blob's uploads that no other process sends into. */
  async #free(key: string): Promise<string[]> {
    const ofKey = (await this.#names()).map((name) => name.split('.')).filter(([start]) => start === hashOf(key));
    const free = ofKey.filter(([, writer, ...more]) => more.length === 0 && !this.#isOther(Number(writer)));
    return free.map((name) => join(this.#folder, name.join('.')));
  }

  #isOther(writer: number): boolean {
    return writer !== this.#process && isRunning(writer);
  }

  #names(): Promise<string[]> {
    return readdir(this.#folder).catch(() => []);
  }

  #fileOf(key: string): string {
    return join(this.#folder, `${hashOf(key)}.${this.#process}`);
  }
}

function hashOf(key: string): string {
  return createHash('sha256').update(key).digest('hex');
}

function isRunning(id: number): boolean {
  if (!(id > 0)) return false;
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
