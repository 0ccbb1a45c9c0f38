import type { Command } from 'commander';
import { Failure } from '../errors.ts';
import { repositoryOf, wantsJson, withExamples, withJson } from '../options.ts';
import { parseRepositoryReference } from '../reference.ts';
import { harmless, print, printJson } from '../terminal.ts';

export function tags(berth: Command): void {
  const command = withJson(berth.command('tags'))
    .description('list the tags of a repository, one a line')
    .argument('<repository>', '[HOST/]ORG/NAME')
    .action(async (text: string) => {
      const repository = repositoryOf(command, parseRepositoryReference(text));
      const found = await repository.tags();
      if (found === undefined) throw new Failure(`there is no repository ${text}: check its name, and the login`);
      if (wantsJson(command)) return printJson({ name: repository.name, tags: found });
      print(found.map((tag) => `${harmless(tag)}\n`).join(''));
    });
  withExamples(command, ['berth tags index.example.com/acme/app']);
}
