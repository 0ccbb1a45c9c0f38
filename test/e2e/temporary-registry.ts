import { rmSync } from 'node:fs';
import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts, type LocalHost, startLocalRegistry } from '../../src/local/simulators.ts';
import { requireNoLoggedSecrets } from '../support/local/logged-secrets.ts';
import { stopCommands } from './command.ts';

export interface TemporaryRegistry {
  /** `localhost:<port>`, as clients are told it. */
  readonly host: string;
  readonly port: number;
  /** The same for central, which is first, and for each node. */
  readonly hosts: readonly LocalHost[];
  readonly logFile: string;
  /** A folder for whatever else the run leaves behind; it goes when the registry does. */
  readonly directory: string;
}

/** Central, or a node. */
export function hostNamed({ hosts }: TemporaryRegistry, wanted: string): LocalHost {
  const found = hosts.find(({ name }) => name === wanted);
  if (found === undefined) throw new Error(`there is no host ${wanted}`);
  return found;
}

/** The same registry, as one of its hosts serves it; its clients keep what they keep in a folder of their own. */
export async function registryAt(
  registry: TemporaryRegistry,
  host: string,
  purpose: string,
): Promise<TemporaryRegistry> {
  const { port } = hostNamed(registry, host);
  const directory = join(registry.directory, `${purpose}-${host}`);
  await mkdir(directory, { recursive: true });
  return { ...registry, host: `localhost:${port}`, port, directory };
}

/**
 * What `npm start` runs, on a free port and for this one use: nothing stays, neither after a failure nor after Ctrl-C.
 * @throws also if it has left a secret in its log, or this process on its screen
 */
export async function withTemporaryRegistry<T>(use: (registry: TemporaryRegistry) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'berth-'));
  // Done when the process exits, and so at once: the simulators end it themselves at a signal, and wait for nobody.
  const clean = (): void => {
    stopCommands();
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  };
  process.on('exit', clean);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));
  const [port = 0] = await freePorts();
  const stateDir = join(directory, 'registry');
  const screen = keepScreen();
  const registry = await startLocalRegistry({ port, stateDir });
  // Once more, behind the simulators' own handler: until it has run, they write to the folder.
  process.on('exit', clean);
  try {
    const { hosts, logFile } = registry;
    return await use({ host: `localhost:${port}`, port, hosts, logFile, directory });
  } finally {
    await registry.stop();
    await requireNoLoggedSecrets(stateDir, screen());
  }
}

/** From now on, what this process prints: the registry runs in it. */
function keepScreen(): () => string {
  let kept = '';
  for (const stream of [process.stdout, process.stderr]) {
    const write = stream.write.bind(stream);
    stream.write = (chunk: string | Uint8Array, ...rest: []) => {
      kept += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString();
      return write(chunk, ...rest);
    };
  }
  return () => kept;
}
