/** The options that many commands share, and the examples at the end of their help. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { Repository } from '../../src/oci-client/repository.ts';
import { type Api, connect } from './api.ts';
import type { RepositoryReference } from './reference.ts';
import { connectTo } from './registry.ts';
import type { TransportOptions } from './transport.ts';

/** The options that {@link withJson} and {@link withHost} add. */
export interface ApiOptions extends TransportOptions {
  readonly json?: true;
  readonly host?: string;
}

/** Adds examples to a command's help. Each is a command line, with an explanation unless it is plain. */
export function withExamples(command: Command, ...examples: readonly (readonly [line: string, does?: string])[]): void {
  const width = Math.max(...examples.map(([line]) => line.length));
  const lines = examples.map(([line, does]) => (does === undefined ? line : `${line.padEnd(width)}  # ${does}`));
  command.addHelpText('after', `\nExamples:\n${lines.map((line) => `  ${line}`).join('\n')}`);
}

/** Adds `--json`. */
export function withJson(command: Command): Command {
  return command.option('--json', "print JSON: the registry's answer, or what was removed");
}

/** Adds `--json`, and `--host` to a command whose arguments name no host. */
export function withHost(command: Command): Command {
  const host = new Option('--host <host>', 'the registry, as host[:port]').env('BERTH_HOST').makeOptionMandatory();
  return withJson(command).addOption(host);
}

/** Connects a command to the host of an argument or, for a command that {@link withHost} made, of `--host`. */
export function connected(command: Command, host?: string): Promise<Api> {
  const options = command.optsWithGlobals<ApiOptions>();
  return connect(host ?? options.host ?? '', options);
}

/** Connects a command to a repository of any registry. */
export function repositoryOf(command: Command, { host, repository }: RepositoryReference): Repository {
  return new Repository(connectTo(host, command.optsWithGlobals<TransportOptions>()), repository, 'pull');
}

export function wantsJson(command: Command): boolean {
  return command.optsWithGlobals<ApiOptions>().json === true;
}

/** Parses a number of seconds, alone or with a unit: `90`, `90s`, `10m`, `1h`, `7d`. */
export function seconds(text: string): number {
  const [, number, unit = 's'] = /^(\d{1,7})(s|m|h|d)?$/.exec(text) ?? [];
  if (number === undefined) throw new InvalidArgumentError('Write a duration as 90s, 10m, 1h or 7d.');
  return Number(number) * { s: 1, m: 60, h: 3600, d: 86_400 }[unit as 's' | 'm' | 'h' | 'd'];
}
