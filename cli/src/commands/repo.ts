import { Argument, type Command } from 'commander';
import type { Repository } from '../answers.ts';
import { path, splitRepository } from '../api.ts';
import { connected, wantsJson, withExamples, withJson } from '../options.ts';
import { organizationIn, parseRepositoryReference } from '../reference.ts';
import { confirm, print, printJson, printRemoved, table, time } from '../terminal.ts';

const REPOSITORY = '[HOST/]ORG/NAME';

export function repo(berth: Command): void {
  const group = berth.command('repo').description('manage repositories');

  const ls = withJson(group.command('ls'))
    .description('list the repositories of an organization')
    .argument('<organization>', '[HOST/]ORG')
    .action(async (text: string) => {
      const { host, path: organization } = organizationIn(text);
      const api = await connected(ls, host);
      const to = path`/api/organizations/${organization}/repositories`;
      const repositories = await api.list<Repository>(to, 'repositories', ({ name }) => name);
      if (wantsJson(ls)) return printJson({ repositories });
      print(
        table(repositories, {
          NAME: ({ name }) => name,
          VISIBILITY: ({ visibility }) => visibility,
          CREATED: ({ created_at: at }) => time(at),
        }),
      );
    });
  withExamples(ls, ['berth repo ls index.example.com/acme']);

  const create = withJson(group.command('create'))
    .description('create a repository before its first push, which would also create it')
    .argument('<repository>', REPOSITORY)
    .option('--public', 'let everybody pull from it')
    .action(async (text: string, options: { readonly public?: true }) => {
      const { host, organization, name } = partsOf(text);
      const body = { name, visibility: options.public === true ? 'public' : 'private' };
      const to = path`/api/organizations/${organization}/repositories`;
      const made = await (await connected(create, host)).call<Repository>('POST', to, { body });
      if (wantsJson(create)) return printJson(made);
      print(`created ${made.name}, which is ${made.visibility}\n`);
    });
  withExamples(create, ['berth repo create index.example.com/acme/app --public']);

  const set = withJson(group.command('set'))
    .description('make a repository public or private')
    .argument('<repository>', REPOSITORY)
    .addArgument(new Argument('<visibility>').choices(['public', 'private']))
    .action(async (text: string, visibility: string) => {
      const { host, to } = partsOf(text);
      const changed = await (await connected(set, host)).call<Repository>('PATCH', to, { body: { visibility } });
      if (wantsJson(set)) return printJson(changed);
      print(`${changed.name} is ${changed.visibility}\n`);
    });
  withExamples(set, ['berth repo set index.example.com/acme/app public']);

  const remove = withJson(group.command('rm'))
    .description('remove a repository with all its tags and images')
    .argument('<repository>', REPOSITORY)
    .option('--yes', 'do not ask')
    .action(async (text: string, { yes }: { readonly yes?: true }) => {
      const { host, to } = partsOf(text);
      await confirm(`Remove ${text} with all its tags and images? Nothing brings them back.`, yes === true);
      await (await connected(remove, host)).send('DELETE', to);
      printRemoved(text, wantsJson(remove));
    });
  withExamples(remove, ['berth repo rm index.example.com/acme/app']);
}

/** Returns the parts of a repository's name, and its path in the API. @throws WrongUse */
function partsOf(text: string) {
  const { host, repository } = parseRepositoryReference(text);
  const [organization, name] = splitRepository(repository);
  return { host, organization, name, to: path`/api/organizations/${organization}/repositories/${name}` };
}
