/** Compares the commands with their help and with docs/cli.md. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { program } from '../../cli/src/program.ts';

const PAGE = fileURLToPath(new URL('../../docs/cli.md', import.meta.url));

interface Leaf {
  /** Such as `berth org create <organization>`. */
  readonly usage: string;
  readonly command: Command;
}

/** Returns the commands that do something, not the groups of them. */
function leavesOf(command: Command, path: string): Leaf[] {
  if (command.commands.length > 0) return command.commands.flatMap((each) => leavesOf(each, `${path} ${each.name()}`));
  const help = command.createHelp();
  const args = command.registeredArguments.map((argument) => {
    const name = help.argumentTerm(argument) + (argument.variadic ? '...' : '');
    return argument.required ? `<${name}>` : `[${name}]`;
  });
  return [{ usage: [path, ...args].join(' '), command }];
}

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: (part) => void (text += part) });
  command.outputHelp();
  return text;
}

const leaves = leavesOf(program(), 'berth');

test('docs/cli.md lists every command with its arguments, and no other', async () => {
  const page = await readFile(PAGE, 'utf8');
  const rows = page.split('\n').flatMap((line) => /^\| `(berth [^`]*)` /.exec(line)?.[1] ?? []);
  expect(rows.toSorted()).toEqual(leaves.map(({ usage }) => usage).toSorted());
});

describe.each(leaves.map(({ usage, command }) => [usage, command] as const))('%s', (usage, command) => {
  const help = helpOf(command);
  const [path = ''] = usage.split(/ [<[]/);

  test('says in its help what it does, with an example of itself', () => {
    expect(command.description()).toMatch(/^[a-z].*[^.]$/);
    expect(help).toContain('\nExamples:\n');
    expect(help.slice(help.indexOf('\nExamples:\n'))).toContain(path);
  });
});
