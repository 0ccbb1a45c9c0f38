/** Runs explorations, each in its own thread. */
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { ALL_CLOCKS, type Clocks } from './clocks.ts';
import { explore, type Exploration } from './explore.ts';
import type { Limits } from './limits.ts';

/** The largest exploration of the default depth needs about 2 GiB. */
const MOST_THREADS = 4;
/** Most objects soon become garbage, and a young generation of this size copies few of them. */
const YOUNG_MEGABYTES = 128;
const HEAP_MEGABYTES = 8192;

interface Task {
  readonly limits: Limits;
  /** The name of a set of clocks. */
  readonly clocks: string;
}

export interface TimedExploration extends Exploration {
  readonly milliseconds: number;
}

if (!isMainThread) {
  const { limits, clocks: name } = workerData as Task;
  const clocks = ALL_CLOCKS.find((set) => set.name === name);
  if (clocks === undefined) throw new Error(`there are no clocks called "${name}"`);
  const start = performance.now();
  const exploration = explore({ clocks, limits, mutation: undefined });
  parentPort?.postMessage({ ...exploration, milliseconds: performance.now() - start } satisfies TimedExploration, []);
}

function exploreInThread(task: Task): Promise<TimedExploration> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(fileURLToPath(import.meta.url), {
      workerData: task,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MEGABYTES, maxOldGenerationSizeMb: HEAP_MEGABYTES },
    });
    thread.once('message', resolve).once('error', reject);
    thread.once('exit', (code) => reject(new Error(`the thread of an exploration exited with code ${code}`)));
  });
}

/** Runs explorations, as many at once as the machine has cores, but at most four. Results keep the given order. */
export function exploreAll(
  asked: readonly { readonly limits: Limits; readonly clocks: Clocks }[],
): Promise<TimedExploration>[] {
  const waiting: (() => void)[] = [];
  let free = Math.min(MOST_THREADS, availableParallelism());
  return asked.map(async ({ limits, clocks }) => {
    if (free > 0) free--;
    else await new Promise<void>((go) => waiting.push(go));
    try {
      return await exploreInThread({ limits, clocks: clocks.name });
    } finally {
      const next = waiting.shift();
      if (next === undefined) free++;
      else next();
    }
  });
}
