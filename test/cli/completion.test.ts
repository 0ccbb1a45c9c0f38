/** The completion scripts. Bash runs its script here; those of the other shells are checked as text. */
import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { shells } from '../../cli/src/completion.ts';
import { program } from '../../cli/src/program.ts';

/** Returns the completions that bash offers for the last of the words. */
function offered(...words: readonly string[]): string[] {
  const typed = ['berth', ...words].map((word) => `'${word}'`).join(' ');
  const script = `${shells.bash(program())}
COMP_WORDS=(${typed}) COMP_CWORD=${words.length}
_berth
printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync('bash', ['--norc', '-c', script], { encoding: 'utf8' }).split('\n').filter(Boolean);
}

test('bash completes commands, the commands of a group, options, and their values', () => {
  expect(offered('res')).toEqual(['restore', 'resume']);
  expect(offered('org', '')).toEqual(expect.arrayContaining(['ls', 'show', 'create', 'rm']));
  expect(offered('org', 'ls', '--j')).toEqual(['--json']);
  expect(offered('wait', 'host/alice/app:1', '--f')).toEqual(['--for']);
  expect(offered('wait', '--for', '')).toEqual(['announced', 'settled']);
  expect(offered('--plain-http', 'pin', 'a')).toEqual(['add']);
});

test('bash leaves the values of other options, such as files, to its own completion', () => {
  expect(offered('credential', 'create', '--secret-file', '')).toEqual([]);
});

test('the scripts for zsh and fish have every command, quoted', () => {
  const zsh = shells.zsh(program());
  expect(zsh).toMatch(/^#compdef berth\n/);
  expect(zsh).toContain(`'quota:show or set an organization'\\''s quota'`);
  expect(shells.fish(program())).toContain(
    `complete -c berth -n '__berth_at " org"' -f -a show -d 'show the usage and the limits of an organization'`,
  );
});
