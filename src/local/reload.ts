/**
 * `npm run dev`: a local registry that is replaced by a new one when a source, a migration or wrangler.toml changes.
 * The state stays, since it lies in the state folder. Sources that do not build replace nothing.
 */
import { watchSources } from './changed-sources.ts';
import { buildLocalRegistry, type LocalOptions, type LocalRegistry, startLocalRegistry } from './simulators.ts';

/** The one file of `src/local` that is part of the Worker. This process has loaded the others, and keeps them. */
const LOCAL_WORKER = 'src/local/worker.ts';

/**
 * @param say prints a line, or an error of several
 * @throws PortInUse
 */
export async function startReloading(options: LocalOptions, say: (text: string) => void): Promise<LocalRegistry> {
  const first = await startLocalRegistry(options);
  let current: LocalRegistry | undefined = first;
  let reloading = Promise.resolve();

  const reload = async (paths: readonly string[]): Promise<void> => {
    const start = Date.now();
    let built;
    try {
      built = await buildLocalRegistry(options);
    } catch (error) {
      say(`${messageOf(error)}\nNot reloaded: the registry of before keeps running.`);
      return;
    }
    try {
      await current?.stop();
      current = undefined;
      current = await built.start();
      say(`Reloaded in ${((Date.now() - start) / 1000).toFixed(1)} s: ${paths.join(', ')}`);
    } catch (error) {
      say(`${messageOf(error)}\nThe registry is down: it starts again with the next change.`);
    }
  };

  const stopWatching = watchSources(async (paths) => {
    const own = paths.filter((path) => path.startsWith('src/local/') && path !== LOCAL_WORKER);
    if (own.length > 0) say(`Restart npm run dev to use ${own.join(', ')}`);
    if (own.length === paths.length) return;
    reloading = reload(paths);
    await reloading;
  });

  return {
    ...first,
    get log() {
      return (current ?? first).log;
    },
    scheduled: async () => current?.scheduled(),
    stop: async () => {
      stopWatching();
      await reloading;
      await current?.stop();
    },
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
