import { text } from 'node:stream/consumers';
import { type Command, Option } from 'commander';
import { PRESET_NAMES } from '../../../src/upstream/presets.ts';
import type { Mirror, MirrorStatus } from '../answers.ts';
import { path } from '../api.ts';
import { WrongUse } from '../errors.ts';
import { connected, seconds, wantsJson, withExamples, withHost } from '../options.ts';
import { confirm, duration, fields, print, printJson, printRemoved, table, time } from '../terminal.ts';

interface Options {
  readonly prefix?: string;
  readonly repository?: readonly string[];
  readonly ttl?: number;
  /** Infinity for ever. */
  readonly stale?: number;
  readonly expires?: number;
  readonly pushes?: Mirror['pushes'];
  readonly public?: true;
  readonly username?: string;
  readonly passwordStdin?: true;
  readonly loginHost?: string;
}

export function mirror(berth: Command): void {
  const group = berth.command('mirror').description('manage organizations that are mirrors of other registries');

  const ls = withHost(group.command('ls'))
    .description('list the mirrors')
    .action(async () => {
      const answer = await (await connected(ls)).call<{ mirrors: Mirror[] }>('GET', '/api/mirrors');
      if (wantsJson(ls)) return printJson(answer);
      print(
        table(answer.mirrors, {
          ORGANIZATION: ({ organization }) => organization,
          FROM: upstreamOf,
          REPOSITORIES: ({ repositories }) => repositories.join(' '),
          'TTL>': ({ ttl_seconds: ttl }) => duration(ttl),
          'STALE>': staleOf,
          PUBLIC: (each) => (each.public ? 'yes' : 'no'),
        }),
      );
    });
  withExamples(ls, ['berth mirror ls --host index.example.com']);

  const show = withHost(group.command('show'))
    .description('show the settings of a mirror')
    .argument('<organization>')
    .action(async (name: string) => {
      const found = await (await connected(show)).call<Mirror>('GET', pathOf(name));
      if (wantsJson(show)) return printJson(found);
      print(
        fields({
          Organization: found.organization,
          From: upstreamOf(found),
          Login: found.username ?? 'none',
          'Login host': found.login_host ?? "the registry's",
          Repositories: found.repositories.join(' '),
          TTL: duration(found.ttl_seconds),
          Stale: staleOf(found),
          Expires: found.expires_seconds === null ? 'never' : duration(found.expires_seconds),
          Pushes: found.pushes,
          Public: found.public ? 'yes' : 'no',
          Changed: time(found.changed_at),
        }),
      );
    });
  withExamples(show, ['berth mirror show hub --host index.example.com']);

  const set = withHost(group.command('set'))
    .description('make an organization a mirror, or replace all its settings')
    .argument('<organization>')
    .argument('<from>', `the URL of a registry, or one of ${PRESET_NAMES}`)
    .option('--prefix <path>', "the path before a repository's name at that registry")
    .option('--repository <name...>', "only these below the organization, or patterns such as 'library/*'")
    .option('--ttl <duration>', 'how long a tag is served without asking the registry (15m)', seconds)
    .option('--stale <duration>', 'how much longer a tag is served while the registry fails (7d)', secondsOrForever)
    .option('--expires <duration>', 'remove images that nobody has pulled for this long (never)', seconds)
    .addOption(
      new Option('--pushes <what>', 'what happens to pushes (refused)').choices(['refused', 'kept', 'forwarded']),
    )
    .option('--public', 'let everybody pull from it')
    .option('-u, --username <name>', 'log in to the registry as this user')
    .option('--password-stdin', 'read the password for it from standard input; else the stored one is kept')
    .option('--login-host <host>', "the host of its token service, if it is not the registry's")
    .action(async (name: string, from: string, options: Options) => {
      const body = { from, ...(await settingsOf(options)) };
      const made = await (await connected(set)).call<Mirror>('PUT', pathOf(name), { body });
      if (wantsJson(set)) return printJson(made);
      print(`${made.organization} is a mirror of ${upstreamOf(made)}\n`);
    });
  withExamples(
    set,
    ['berth mirror set hub hub --public --host index.example.com', 'Docker Hub, for everybody'],
    ['berth mirror set tools ghcr --prefix acme -u ci --password-stdin <token.txt', 'the packages of acme at GHCR'],
    ["berth mirror set harbor https://harbor.example --repository 'team/*' --stale forever"],
    ['berth mirror set team https://harbor.example --pushes forwarded -u ci --password-stdin <token.txt'],
  );

  const status = withHost(group.command('status'))
    .description('show the state of a mirror at the host')
    .argument('<organization>')
    .action(async (name: string) => {
      const found = await (await connected(status)).call<MirrorStatus>('GET', `${pathOf(name)}/status`);
      if (wantsJson(status)) return printJson(found);
      print(fields(statusFields(found)));
      if (found.parked.length === 0) return;
      print(
        table(found.parked, {
          PARKED: ({ repository, tag, digest }) => (tag === null ? `${repository}@${digest}` : `${repository}:${tag}`),
          'ATTEMPTS>': ({ attempts }) => String(attempts),
          REASON: ({ reason }) => reason,
        }),
      );
    });
  withExamples(status, ['berth mirror status team --host node1.example.com', 'the pushes to a node that wait']);

  const retry = withHost(group.command('retry'))
    .description('retry the failed and parked pushes to a mirror at the host')
    .argument('<organization>')
    .action(async (name: string) => {
      const answer = await (await connected(retry)).call<{ retried: number }>('POST', `${pathOf(name)}/retry`);
      if (wantsJson(retry)) return printJson(answer);
      print(`${answer.retried} ${answer.retried === 1 ? 'push is' : 'pushes are'} tried again\n`);
    });
  withExamples(retry, ['berth mirror retry team --host node1.example.com']);

  const remove = withHost(group.command('rm'))
    .description('turn a mirror into an ordinary organization, which keeps the pulled images')
    .argument('<organization>')
    .option('--yes', 'do not ask')
    .action(async (name: string, { yes }: { readonly yes?: true }) => {
      await confirm(`Pull nothing more into ${name}?`, yes === true);
      await (await connected(remove)).send('DELETE', pathOf(name));
      printRemoved(`the mirror ${name}`, wantsJson(remove));
    });
  withExamples(remove, ['berth mirror rm hub --host index.example.com']);
}

function statusFields({ tags, waiting, failure, pushes }: MirrorStatus): Record<string, string> {
  return {
    'Known tags': String(tags),
    'To store': String(waiting),
    Failure: failure ?? 'none',
    Pending: String(pushes.pending),
    Announced: String(pushes.announced),
    Settled: String(pushes.settled),
    Parked: String(pushes.parked),
  };
}

function pathOf(organization: string): string {
  return path`/api/organizations/${organization}/mirror`;
}

function upstreamOf({ from, prefix }: Mirror): string {
  return prefix === '' ? from : `${from}, below ${prefix}`;
}

function staleOf({ stale_seconds: stale }: Mirror): string {
  return stale === null ? 'forever' : duration(stale);
}

/** Parses a duration; Infinity for `forever`. */
function secondsOrForever(value: string): number {
  return value === 'forever' ? Infinity : seconds(value);
}

async function settingsOf(options: Options): Promise<object> {
  const { prefix, repository, ttl, stale, expires, username, passwordStdin, loginHost } = options;
  if (passwordStdin === true && username === undefined) throw new WrongUse('a password needs --username as well');
  const settings = {
    prefix,
    repositories: repository,
    ttl_seconds: ttl,
    stale_seconds: stale === Infinity ? null : stale,
    expires_seconds: expires,
    pushes: options.pushes,
    public: options.public,
    username,
    password: passwordStdin === true ? (await text(process.stdin)).replace(/\r?\n$/, '') : undefined,
    login_host: loginHost,
  };
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}
