import { rm, writeFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import type { CreatedCredential, Credential } from '../answers.ts';
import { path } from '../api.ts';
import { Failure, WrongUse } from '../errors.ts';
import { connected, wantsJson, withExamples, withHost } from '../options.ts';
import { print, printJson, printRemoved, table, time } from '../terminal.ts';

/** The most credentials that the API returns on a page. */
const PAGE = 100;
const RIGHTS = ['pull', 'push', 'delete', 'admin'];

interface Creation {
  readonly org?: string;
  readonly kind?: 'platform' | 'administrator';
  readonly rights?: readonly string[];
  readonly repositories?: readonly string[];
  readonly registries?: readonly string[];
  readonly expires?: string;
  readonly secretFile?: string;
}

const ofOrganization = (): Option =>
  new Option('--org <organization>', 'the organization; without it, credentials above all organizations');

export function credential(berth: Command): void {
  const group = berth.command('credential').description('manage credentials');
  const ls = withHost(group.command('ls'))
    .description('list credentials')
    .addOption(ofOrganization())
    .action(async ({ org: organization }: { readonly org?: string }) => {
      const api = await connected(ls);
      const credentials = await api.list<Credential>(pathOf(organization), 'credentials', ({ name }) => name, PAGE);
      if (wantsJson(ls)) return printJson({ credentials });
      print(
        table(credentials, {
          NAME: ({ name }) => name,
          MAY: ({ kind, rights }) => (kind === 'organization' ? rights.join(', ') : kind),
          REPOSITORIES: ({ kind, repositories }) => (kind === 'organization' ? repositories.join(', ') : null),
          REGISTRIES: ({ registries }) => registries?.join(', ') ?? 'all',
          'LAST USED': ({ last_used_at: at }) => (at === null ? 'never' : time(at)),
          EXPIRES: ({ expires_at: at }) => (at === null ? 'never' : time(at)),
        }),
      );
    });
  withExamples(ls, ['berth credential ls --org acme --host index.example.com']);

  const create = withHost(group.command('create'))
    .description('create a credential, and print its secret, which is shown only once')
    .argument('<name>')
    .addOption(ofOrganization())
    .addOption(
      new Option('--kind <kind>', 'of a credential above all organizations').choices(['platform', 'administrator']),
    )
    .option('--rights <list>', `its rights in the organization, out of ${RIGHTS.join(',')}`, listOf)
    .option('--repositories <list>', 'its repositories, such as acme/app,acme/team/*; all unless set', listOf)
    .option('--registries <list>', 'central, or names of nodes; all unless set', listOf)
    .option('--expires <time>', 'when it ends, such as 2030-01-31T00:00:00Z; never unless set')
    .option('--secret-file <file>', 'write the secret to a new file that only you can read, instead of printing it')
    .action(async (name: string, options: Creation) => {
      const body = { name, ...requestOf(options) };
      const api = await connected(create);
      const { secretFile } = options;
      // The file comes first, so that no secret is made that can't be kept.
      if (secretFile !== undefined) await createSecretFile(secretFile);
      const made = await api.call<CreatedCredential>('POST', pathOf(options.org), { body }).catch(async (error) => {
        if (secretFile !== undefined) await rm(secretFile);
        throw error;
      });
      if (secretFile !== undefined) return await keep(made, secretFile, wantsJson(create));
      if (wantsJson(create)) return printJson(made);
      console.error(`Created ${name}. This is its secret, which is shown only now:`);
      print(`${made.secret}\n`);
    });
  withExamples(
    create,
    ['berth credential create ci --org acme --rights pull,push --host index.example.com'],
    ["berth credential create team --org acme --rights pull --repositories 'acme/team/*' --host index.example.com"],
    ['berth credential create machines --kind platform --secret-file machines.txt --host index.example.com'],
  );

  const remove = withHost(group.command('rm'))
    .description('remove a credential; its access tokens end within five minutes')
    .argument('<name>')
    .addOption(ofOrganization())
    .action(async (name: string, { org: organization }: { readonly org?: string }) => {
      await (await connected(remove)).send('DELETE', pathOf(organization) + path`/${name}`);
      printRemoved(name, wantsJson(remove));
    });
  withExamples(remove, ['berth credential rm ci --org acme --host index.example.com']);
}

function pathOf(organization: string | undefined): string {
  return organization === undefined ? '/api/credentials' : path`/api/organizations/${organization}/credentials`;
}

/** @throws WrongUse for options that exclude each other */
function requestOf({ org, kind, rights, repositories, registries, expires }: Creation): object {
  if ((org === undefined) === (kind === undefined))
    throw new WrongUse('name either the organization (--org) or the kind (--kind) of the credential');
  if (org !== undefined && rights === undefined) throw new WrongUse('say what it may do, such as --rights pull,push');
  if (org === undefined && (rights !== undefined || repositories !== undefined))
    throw new WrongUse('--rights and --repositories are for credentials of an organization (--org)');
  if (expires !== undefined && Number.isNaN(Date.parse(expires)))
    throw new WrongUse(`${expires} is not a time: write it as 2030-01-31T00:00:00Z`);
  // JSON leaves out what is undefined.
  const end = expires === undefined ? undefined : new Date(expires).toISOString();
  return { kind, rights, repositories, registries, expires_at: end };
}

function listOf(text: string): string[] {
  return text.split(',').filter((item) => item !== '');
}

async function keep({ secret, ...rest }: CreatedCredential, file: string, json: boolean): Promise<void> {
  await writeFile(file, secret);
  if (json) printJson(rest);
  else print(`created ${rest.name}; its secret is in ${file}\n`);
}

async function createSecretFile(file: string): Promise<void> {
  try {
    await writeFile(file, '', { flag: 'wx', mode: 0o600 });
  } catch (cause) {
    throw new Failure(`${file} can't be created: name a file that does not exist yet`, { cause });
  }
}
