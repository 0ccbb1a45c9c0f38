import { Command } from 'commander';
import manifest from '../package.json' with { type: 'json' };
import { completion } from './commands/completion.ts';
import { copy } from './commands/copy.ts';
import { credential } from './commands/credential.ts';
import { gateway } from './commands/gateway.ts';
import { history, restore } from './commands/history.ts';
import { images } from './commands/images.ts';
import { importing, imports } from './commands/import.ts';
import { inspect } from './commands/inspect.ts';
import { login, logout } from './commands/login.ts';
import { mirror } from './commands/mirror.ts';
import { org } from './commands/org.ts';
import { pin } from './commands/pin.ts';
import { prefetch } from './commands/prefetch.ts';
import { pull } from './commands/pull.ts';
import { push } from './commands/push.ts';
import { pause, resume, retry } from './commands/queue.ts';
import { quota } from './commands/quota.ts';
import { repo } from './commands/repo.ts';
import { rm } from './commands/rm.ts';
import { status } from './commands/status.ts';
import { tags } from './commands/tags.ts';
import { wait } from './commands/wait.ts';

/** In the order of the help. */
const COMMANDS: readonly ((berth: Command) => void)[] = [
  login,
  logout,
  push,
  pull,
  copy,
  importing,
  imports,
  gateway,
  images,
  tags,
  inspect,
  history,
  restore,
  rm,
  wait,
  prefetch,
  pin,
  status,
  retry,
  pause,
  resume,
  org,
  mirror,
  repo,
  credential,
  quota,
  completion,
];

/**
 * Builds the command line. Each command is a file in `commands/`, and a line here.
 * @throws CommanderError from `parseAsync`, for wrong use and once help or the version is printed
 */
export function program(): Command {
  const berth = new Command('berth')
    .description(manifest.description)
    .version(manifest.version)
    .exitOverride()
    .option('--ca <file>', 'also trust the certificate authorities in this PEM file')
    .option('--insecure', 'do not check certificates')
    .option('--plain-http', 'use http (loopback uses it by default)')
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('Run it with --help to see how it is used.');
  // Subcommands inherit the options above only if they are added after them.
  for (const add of COMMANDS) add(berth);
  return berth;
}
