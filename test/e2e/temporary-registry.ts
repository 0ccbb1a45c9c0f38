import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, type LocalRegistry, startLocalRegistry } from '../../src/local/simulators.ts';
import { stopCommands } from './command.ts';

export interface TemporaryRegistry {
  /** `localhost:<port>`, as clients are told it. */
  readonly host: string;
  readonly port: number;
  readonly logFile: string;
  /** A folder for whatever else the run leaves behind; it goes when the registry does. */
  readonly directory: string;
}

/** What `npm start` runs, on a free port and for this one use: nothing stays, neither after a failure nor after Ctrl-C. */
export async function withTemporaryRegistry<T>(use: (registry: TemporaryRegistry) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'berth-'));
  let registry: LocalRegistry | undefined;
  const clean = async (): Promise<void> => {
    stopCommands();
    try {
      await registry?.stop();
    } finally {
      await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    }
  };
  const interrupt = (): void => {
    clean()
      .catch((error: unknown) => console.error(error))
      .finally(() => process.exit(130));
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, interrupt);
  try {
    const port = await freePort();
    registry = await startLocalRegistry({ port, stateDir: join(directory, 'registry') });
    return await use({ host: `localhost:${port}`, port, logFile: registry.logFile, directory });
  } finally {
    await clean();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, interrupt);
  }
}
