import { Command } from 'commander';
import manifest from '../package.json' with { type: 'json' };
import { gateway } from './commands/gateway.ts';

/**
 * Builds the command line. Each command is a file in `commands/`, and a line here.
 * @throws CommanderError from `parseAsync`, for wrong use and once help or the version is printed
 */
export function program(): Command {
  const berth = new Command('berth')
    .description(manifest.description)
    .version(manifest.version)
    .exitOverride()
    .showHelpAfterError('Run it with --help to see how it is used.');
  // Subcommands inherit what stands above only if they are added after it.
  gateway(berth);
  return berth.action(() => {
    berth.help();
  });
}
