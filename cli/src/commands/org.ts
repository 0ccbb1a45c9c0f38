import type { Command } from 'commander';
import type { Organization, Usage } from '../answers.ts';
import { path } from '../api.ts';
import { connected, wantsJson, withExamples, withHost } from '../options.ts';
import { confirm, fields, print, printJson, printRemoved, size, table, time } from '../terminal.ts';

export function org(berth: Command): void {
  const group = berth.command('org').description('manage organizations');

  const ls = withHost(group.command('ls'))
    .description('list organizations')
    .action(async () => {
      const api = await connected(ls);
      const organizations = await api.list<Organization>('/api/organizations', 'organizations', ({ name }) => name);
      if (wantsJson(ls)) return printJson({ organizations });
      print(
        table(organizations, {
          NAME: ({ name }) => name,
          CREATED: ({ created_at: at }) => time(at),
          'QUOTA>': ({ quota }) => (quota === null ? 'none' : size(quota)),
        }),
      );
    });
  withExamples(ls, ['berth org ls --host index.example.com']);

  const show = withHost(group.command('show'))
    .description('show the usage and the limits of an organization')
    .argument('<organization>')
    .action(async (name: string) => {
      const usage = await (await connected(show)).call<Usage>('GET', path`/api/organizations/${name}/usage`);
      if (wantsJson(show)) return printJson(usage);
      print(
        fields({
          Organization: name,
          Used: size(usage.used),
          'In flight': size(usage.in_flight),
          Quota: usage.quota === null ? 'none' : size(usage.quota),
          Repositories: usage.repositories,
          Tags: `${usage.tags} of ${usage.limits.tags}`,
          Manifests: `${usage.manifests} of ${usage.limits.manifests}, ${size(usage.manifest_bytes)}`,
          Blobs: `${usage.blobs} of ${usage.limits.blobs}, ${size(usage.bytes)}`,
        }),
      );
      if (!usage.complete) console.error('A store does not answer: the figures lack the content that only it knows.');
    });
  withExamples(show, ['berth org show acme --host index.example.com']);

  const create = withHost(group.command('create'))
    .description('create an organization')
    .argument('<organization>')
    .action(async (name: string) => {
      const made = await (await connected(create)).call<Organization>('POST', '/api/organizations', { body: { name } });
      if (wantsJson(create)) return printJson(made);
      print(`created ${made.name}\n`);
    });
  withExamples(create, ['berth org create acme --host index.example.com']);

  const remove = withHost(group.command('rm'))
    .description('remove an organization that has no repositories, with its credentials')
    .argument('<organization>')
    .option('--yes', 'do not ask')
    .action(async (name: string, { yes }: { readonly yes?: true }) => {
      await confirm(`Remove ${name} and all its credentials?`, yes === true);
      await (await connected(remove)).send('DELETE', path`/api/organizations/${name}`);
      printRemoved(name, wantsJson(remove));
    });
  withExamples(remove, ['berth org rm acme --host index.example.com']);
}
