import { rmSync } from 'node:fs';
import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts, type LocalHost, startLocalRegistry } from '../../src/local/simulators.ts';
import { requireNoLoggedSecrets } from '../support/local/logged-secrets.ts';
import { stopCommands } from './command.ts';

export interface TemporaryRegistry {
  /** `localhost:<port>`, as clients address it. */
  readonly host: string;
  /**
   * The mirror that clients have in their own configuration: `<host>/<organization>`, or a mirror's own host.
   */
  readonly mirror?: string;
  readonly port: number;
  /** Central, which is first, and the nodes. */
  readonly hosts: readonly LocalHost[];
  readonly logFile: string;
  /** A folder for other files of the run; it is deleted with the registry. */
  readonly directory: string;
}

/** Returns central or a node by its name. */
export function hostNamed({ hosts }: TemporaryRegistry, wanted: string): LocalHost {
  const found = hosts.find(({ name }) => name === wanted);
  if (found === undefined) throw new Error(`there is no host ${wanted}`);
  return found;
}

/** Returns the registry as one of its hosts serves it. Its clients keep their state in a separate folder. */
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
 * Runs the registry of `npm start` on free ports during `use`. Nothing stays, neither after a failure nor after Ctrl-C.
 * @param atLoopback the organization that central serves at `127.0.0.1`, as docker asks for a mirror; `127.0.0.1` is
 *   central itself by default
 * @throws also if the registry logged a secret, or this process printed one
 */
export async function withTemporaryRegistry<T>(
  use: (registry: TemporaryRegistry) => Promise<T>,
  atLoopback?: string,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'berth-'));
  // Runs synchronously when the process exits, because the simulators end the process at a signal without waiting.
  const clean = (): void => {
    stopCommands();
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  };
  process.on('exit', clean);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));
  const [port = 0] = await freePorts();
  const stateDir = join(directory, 'registry');
  const screen = keepScreen();
  const hosts = atLoopback === undefined ? {} : { mirror_hosts: { [`127.0.0.1:${port}`]: atLoopback } };
  const registry = await startLocalRegistry({ port, stateDir, registry: { central: { store: 'central', ...hosts } } });
  // Registered again, to run after the simulators' handler too: until that has run, they write to the folder.
  process.on('exit', clean);
  try {
    return await use({ host: `localhost:${port}`, port, hosts: registry.hosts, logFile: registry.logFile, directory });
  } finally {
    await registry.stop();
    await requireNoLoggedSecrets(stateDir, screen());
  }
}

/** Records what this process prints from now on, because the registry runs in it. */
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
