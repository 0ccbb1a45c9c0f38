import { type Command, Argument } from 'commander';
import { shells } from '../completion.ts';
import { withExamples } from '../options.ts';
import { print } from '../terminal.ts';

export function completion(berth: Command): void {
  const command = berth
    .command('completion')
    .description('print the script that completes commands and options in a shell')
    .addArgument(new Argument('<shell>').choices(Object.keys(shells)))
    .action((shell: keyof typeof shells) => print(shells[shell](berth)));
  withExamples(
    command,
    ['source <(berth completion bash)', 'in ~/.bashrc'],
    ['source <(berth completion zsh)', 'in ~/.zshrc, after compinit'],
    ['berth completion fish > ~/.config/fish/completions/berth.fish'],
  );
}
