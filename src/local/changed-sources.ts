/**
 * Watches the sources of a local run by comparing modification times. It does not use the system's file events, because
 * they differ between systems, miss files that an editor replaces, and never come from some mounted folders.
 */
import { readdirSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CONFIGURATION = join(ROOT, 'wrangler.toml');
const SOURCES = join(ROOT, 'src');
const INTERVAL = 250;

/**
 * Calls `changed` with the paths that were written, added or removed since the last call, relative to the repository.
 * It first waits until the last call has settled and nothing has changed for a moment, so that saving many files is one
 * change.
 * @returns a function that stops watching
 */
export function watchSources(changed: (paths: readonly string[]) => Promise<void>): () => void {
  let before = timesOfSources();
  const pending = new Set<string>();
  let timer = setTimeout(look, INTERVAL);

  function look(): void {
    const found = changedPaths();
    for (const path of found) pending.add(relative(ROOT, path));
    if (found.length > 0 || pending.size === 0) {
      timer = setTimeout(look, INTERVAL);
      return;
    }
    const paths = [...pending].toSorted();
    pending.clear();
    void changed(paths).finally(() => (timer = setTimeout(look, INTERVAL)));
  }

  function changedPaths(): string[] {
    let now;
    try {
      now = timesOfSources();
    } catch {
      // A folder disappeared while it was being read. The next look sees the new state.
      return [];
    }
    const paths = new Set([...before.keys(), ...now.keys()]);
    const found = [...paths].filter((path) => before.get(path) !== now.get(path));
    before = now;
    return found;
  }

  return () => clearTimeout(timer);
}

/** Returns when each file was last written, by path. */
function timesOfSources(): Map<string, number> {
  const entries = readdirSync(SOURCES, { recursive: true, withFileTypes: true });
  const sources = entries.filter(({ name }) => /\.(?:ts|sql)$/.test(name));
  const paths = [...sources.map(({ parentPath, name }) => join(parentPath, name)), CONFIGURATION];
  const times = paths.map((path) => [path, statSync(path, { throwIfNoEntry: false })?.mtimeMs] as const);
  return new Map(times.filter((entry): entry is [string, number] => entry[1] !== undefined));
}
