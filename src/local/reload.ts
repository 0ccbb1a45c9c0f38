/**
 * `npm run dev`: runs a local registry, and replaces it when a source, a migration or wrangler.toml changes. The state
 * survives in the state folder. If the sources do not build, the old registry stays.
 */
import { watchSources } from './changed-sources.ts';
import { buildLocalRegistry, type LocalOptions, type LocalRegistry, startLocalRegistry } from './simulators.ts';

/** The only file of `src/local` in the Worker. This process has loaded the others and cannot reload them. */
const LOCAL_WORKER = 'src/local/worker.ts';

/**
 * Starts a registry that reloads.
 * @param say prints a message of one or more lines
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
      say(`${messageOf(error)}\nNot reloaded: the previous registry keeps running.`);
      return;
    }
    try {
      await current?.stop();
      current = undefined;
      current = await built.start();
      say(`Reloaded in ${((Date.now() - start) / 1000).toFixed(1)} s: ${paths.join(', ')}`);
    } catch (error) {
      say(`${messageOf(error)}\nThe registry is down. It starts again after the next change.`);
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
    scheduled: async (cron) => current?.scheduled(cron),
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
