/**
 * Writes completion scripts from the tree of commands. A script finds the command that is being typed by following the
 * words through the tree: `at` is its path, with a space before each name.
 */
import type { Command } from 'commander';

interface Completed {
  /** Such as ` org ls`; empty for the program itself. */
  readonly at: string;
  readonly commands: readonly Named[];
  readonly options: readonly Option[];
}

interface Named {
  readonly name: string;
  readonly description: string;
}

interface Option extends Named {
  readonly takesValue: boolean;
  readonly choices: readonly string[];
}

function treeOf(command: Command, at = ''): Completed[] {
  const { commands } = command;
  const named = commands.map((each) => ({ name: each.name(), description: each.description() }));
  const help = command.createHelp();
  const options = [...help.visibleOptions(command), ...help.visibleGlobalOptions(command)].flatMap(
    (option): Option[] => {
      const { long, description, required, optional, argChoices: choices = [] } = option;
      return long === undefined ? [] : [{ name: long ?? '', description, takesValue: required || optional, choices }];
    },
  );
  return [{ at, commands: named, options }, ...commands.flatMap((each) => treeOf(each, `${at} ${each.name()}`))];
}

/** Quotes a text for any of the shells. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function pathsIn(tree: readonly Completed[]): string[] {
  return tree.flatMap(({ at }) => (at === '' ? [] : [quoted(at)]));
}

/** Returns the options of every command, each with its path, such as ` org ls --json`. */
function optionsIn(tree: readonly Completed[]): (Option & { readonly at: string })[] {
  return tree.flatMap(({ at, options }) => options.map((option) => ({ ...option, at: `${at} ${option.name}` })));
}

function bash(berth: Command): string {
  const tree = treeOf(berth);
  const words = tree.map(({ at, commands, options }) => {
    const names = [...commands, ...options].map(({ name }) => name);
    return `    ${quoted(at)}) words=${quoted(names.join(' '))} ;;`;
  });
  const values = optionsIn(tree)
    .filter(({ takesValue }) => takesValue)
    .map(({ at, choices }) => `    ${quoted(at)}) words=${quoted(choices.join(' '))} ;;`);
  return `_berth() {
  local word=\${COMP_WORDS[COMP_CWORD]} at='' words='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at \${COMP_WORDS[i]}" in
    ${pathsIn(tree).join(' | ')}) at="$at \${COMP_WORDS[i]}" ;;
    esac
  done
  case "$at" in
${words.join('\n')}
  esac
  case "$at \${COMP_WORDS[COMP_CWORD - 1]}" in
${values.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _berth berth
`;
}

function described(items: readonly Named[]): string {
  return items
    .map(({ name, description }) => quoted(`${name}:${description.replaceAll(':', String.raw`\:`)}`))
    .join(' ');
}

function zsh(berth: Command): string {
  const tree = treeOf(berth);
  const cases = tree.map(
    ({ at, commands, options }) =>
      `    ${quoted(at)}) commands=(${described(commands)}); options=(${described(options)}) ;;`,
  );
  const values = optionsIn(tree)
    .filter(({ choices }) => choices.length > 0)
    .map(({ at, choices }) => `    ${quoted(at)}) compadd -- ${choices.join(' ')}; return ;;`);
  return `#compdef berth
_berth() {
  local at='' i
  local -a commands options
  for ((i = 2; i < CURRENT; i++)); do
    case "$at $words[i]" in
    ${pathsIn(tree).join(' | ')}) at="$at $words[i]" ;;
    esac
  done
  case "$at $words[CURRENT - 1]" in
${values.join('\n')}
  esac
  case "$at" in
${cases.join('\n')}
  esac
  if [[ $PREFIX == -* ]]; then
    _describe option options
  elif (( $#commands )); then
    _describe command commands
  else
    _files
  fi
}
if [[ $funcstack[1] == _berth ]]; then _berth "$@"; else compdef _berth berth; fi
`;
}

function fish(berth: Command): string {
  const tree = treeOf(berth);
  const lines = tree.flatMap(({ at, commands, options }) => {
    const start = `complete -c berth -n ${quoted(`__berth_at ${quoted(at)}`.replaceAll("'", '"'))}`;
    return [
      ...commands.map(({ name, description }) => `${start} -f -a ${name} -d ${fishQuoted(description)}`),
      ...options.map(({ name, description, takesValue, choices }) => {
        const value = choices.length > 0 ? ` -x -a ${fishQuoted(choices.join(' '))}` : takesValue ? ' -r' : '';
        return `${start} -l ${name.slice(2)}${value} -d ${fishQuoted(description)}`;
      }),
    ];
  });
  return `function __berth_at
  set -l words (commandline -opc)
  set -e words[1]
  set -l at ''
  for word in $words
    contains -- "$at $word" ${pathsIn(tree).join(' ')}; and set at "$at $word"
  end
  test "$at" = "$argv[1]"
end
${lines.join('\n')}
`;
}

function fishQuoted(text: string): string {
  return `'${text.replaceAll(/['\\]/g, String.raw`\$&`)}'`;
}

export const shells = { bash, zsh, fish };
