/**
 * Keeps temporary files in memory while tests run. A simulator of D1 waits for the disk after every transaction, which
 * takes longer than most tests need otherwise.
 */
import { mkdtempSync, rmSync, statfsSync } from 'node:fs';

const MEMORY = '/dev/shm';
const FOLDER = `${MEMORY}/berth-tests-`;
const NEEDED_BYTES = 4 * 1024 ** 3;

/** Sets TMPDIR of this process and of those that it starts, if the machine has the room. */
export function keepTemporaryFilesInMemory(): void {
  // vitest reads its configuration once for each project.
  if (process.env['TMPDIR']?.startsWith(FOLDER) === true || !hasRoom()) return;
  const folder = mkdtempSync(FOLDER);
  process.env['TMPDIR'] = folder;
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
}

function hasRoom(): boolean {
  try {
    const { bavail, bsize } = statfsSync(MEMORY);
    return bavail * bsize >= NEEDED_BYTES;
  } catch {
    return false;
  }
}
