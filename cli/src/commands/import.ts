import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
import { PRESET_NAMES } from '../../../src/upstream/presets.ts';
import type { Import, ImportSummary } from '../answers.ts';
import { type Api, path } from '../api.ts';
import { Failure, WrongUse } from '../errors.ts';
import { connected, seconds, wantsJson, withExamples, withJson } from '../options.ts';
import { organizationIn } from '../reference.ts';
import { duration, harmless, print, printJson, size, table, time } from '../terminal.ts';
import { lineOnChange, untilDone } from '../waiting.ts';

interface Options {
  readonly tag?: readonly string[];
  readonly platform?: readonly string[];
  readonly referrers?: true;
  readonly as?: string;
  readonly username?: string;
  readonly passwordStdin?: true;
  readonly loginHost?: string;
  readonly dryRun?: true;
  readonly every?: number;
  readonly prune?: true;
  readonly timeout: number;
}

/** `berth import [HOST/]ORG FROM REPOSITORY…` */
export function importing(berth: Command): void {
  const command = withJson(berth.command('import'))
    .description('copy repositories of another registry into an organization, and wait until that is done')
    .argument('<organization>', '[HOST/]ORG')
    .argument('<from>', `the URL of a registry, or one of ${PRESET_NAMES}`)
    .argument('<repositories...>', "names at that registry, or patterns such as 'team/*'")
    .option('--tag <pattern...>', 'only these tags')
    .option('--platform <platform...>', 'only these platforms of indexes, such as linux/amd64')
    .option('--referrers', 'bring signatures and the like, too')
    .option('--as <name>', "the name in the organization; * stands for the registry's")
    .option('-u, --username <name>', 'log in to the registry as this user')
    .option('--password-stdin', 'read the password for it from standard input')
    .option('--login-host <host>', "the host of its token service, if it is not the registry's")
    .option('--dry-run', 'only count what would be copied')
    .option('--every <duration>', 'keep the copy in step: run again at this interval', seconds)
    .option('--prune', 'with --every, remove tags that the registry has removed')
    .option('--timeout <duration>', 'stop waiting after this time; 0 does not wait', seconds, 86_400)
    .action(async (place: string, from: string, repositories: string[], options: Options) => {
      const { host, path: organization } = organizationIn(place);
      const api = await connected(command, host);
      const body = { from, repositories, ...(await fieldsOf(options)) };
      const begun = await api.send('POST', path`/api/organizations/${organization}/imports`, { body });
      const { id } = (await begun.json()) as Import;
      const last = await followed(api, organization, id, options.timeout);
      if (wantsJson(command)) printJson(last);
      else print(summaryOf(last));
      requireDone(last, `berth imports ${place} ${id}`, options.timeout);
    });
  withExamples(
    command,
    ['berth import index.example.com/acme hub alpine --as base/alpine --tag 3.22 latest'],
    ["berth import index.example.com/acme https://harbor.example 'team/*' --referrers", 'with signatures'],
    ['berth import index.example.com/acme ghcr acme/app -u ci --password-stdin <token.txt'],
    ["berth import index.example.com/acme https://harbor.example 'team/*' --every 1h", 'again each hour'],
    ['berth import index.example.com/acme quay acme/app --dry-run', 'how much would it be?'],
  );
}

/** `berth imports [HOST/]ORG [IMPORT]` */
export function imports(berth: Command): void {
  const command = withJson(berth.command('imports'))
    .description('list the imports of an organization, show one, or stop one')
    .argument('<organization>', '[HOST/]ORG')
    .argument('[import]', 'the id of one')
    .option('--cancel', 'cancel the import, even one that is kept in step; its copies stay')
    .action(async (place: string, id: string | undefined, { cancel }: { readonly cancel?: true }) => {
      const { host, path: organization } = organizationIn(place);
      const api = await connected(command, host);
      const all = path`/api/organizations/${organization}/imports`;
      if (id !== undefined) {
        const to = path`/api/organizations/${organization}/imports/${id}`;
        const one = await api.call<Import>(cancel === true ? 'DELETE' : 'GET', to);
        if (wantsJson(command)) return printJson(one);
        return print(`${summaryOf(one)}${one.error === null ? '' : `error: ${harmless(one.error)}\n`}`);
      }
      if (cancel === true) throw new WrongUse('name the import to cancel');
      const answer = await api.call<{ imports: ImportSummary[] }>('GET', all);
      if (wantsJson(command)) return printJson(answer);
      print(
        table(answer.imports, {
          ID: (each) => each.id,
          STATE: ({ state }) => ({ text: state, tone: TONES[state] }),
          FROM: ({ from }) => from,
          STARTED: ({ created_at: at }) => time(at),
          TAGS: ({ tags }) => `${tags.done}/${tags.total}`,
          'COPIED>': ({ bytes }) => size(bytes.done),
          'SKIPPED>': ({ skipped }) => skipped,
          'NEXT RUN': ({ next_run_at: at }) => (at === null ? '' : time(at)),
        }),
      );
    });
  withExamples(
    command,
    ['berth imports index.example.com/acme'],
    ['berth imports index.example.com/acme 0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f9 --cancel'],
  );
}

const TONES = { running: 'busy', waiting: 'good', done: 'good', failed: 'bad', cancelled: 'bad' } as const;

async function fieldsOf(options: Options): Promise<object> {
  const { tag, platform, referrers, as, username, passwordStdin, loginHost, dryRun, every, prune } = options;
  if ((username === undefined) !== (passwordStdin === undefined))
    throw new WrongUse('a login needs both --username and --password-stdin');
  if (loginHost !== undefined && username === undefined) throw new WrongUse('--login-host needs --username');
  const secret = username === undefined ? '' : (await text(process.stdin)).replace(/\r?\n$/, '');
  const fields = {
    tags: tag,
    platforms: platform,
    referrers,
    as,
    dry_run: dryRun,
    every_seconds: every,
    prune,
    credential: username === undefined ? undefined : { user: username, secret, login_host: loginHost },
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** Shows the progress of an import until it ends, or until the time is over. */
async function followed(api: Api, organization: string, id: string, timeout: number): Promise<Import> {
  const to = path`/api/organizations/${organization}/imports/${id}`;
  const say = lineOnChange();
  say(`the import ${id} runs at ${api.host}, even after this command has stopped waiting`);
  const last = await untilDone(
    timeout,
    (wait) => api.call<Import>('GET', to, { query: { wait } }),
    ({ state }) => state !== 'running',
    (report) => say(progressOf(report)),
  );
  return last ?? api.call<Import>('GET', to);
}

function progressOf({ repositories, tags, bytes, skipped, waits_until: until }: Import): string {
  const waits = until === null ? '' : `; waits for the registry until ${time(until)}`;
  return (
    `${repositories.done} of ${repositories.total} repositories, ${tags.done} of ${tags.total} tags, ` +
    `${size(bytes.done)} of ${size(bytes.total)}, ${skipped} skipped${waits}`
  );
}

function summaryOf(report: Import): string {
  const { state, dry_run: isDry, tags, manifests, blobs, bytes } = report;
  const verb = isDry ? 'would copy' : 'copied';
  const lines = [
    `${state}: ${tags.done} of ${tags.total} tags of ${report.repositories.total} repositories`,
    `${verb} ${manifests.copied} manifests and ${blobs.copied} blobs, ${size(bytes.done)}`,
    `${manifests.present} manifests and ${blobs.present} blobs are there already`,
    ...(report.prune ? [`removed ${report.removed} tags`] : []),
    ...report.report.map(({ what, reason }) => `skipped ${harmless(what)}: ${harmless(reason)}`),
  ];
  const unnamed = report.skipped - report.report.length;
  if (unnamed > 0) lines.push(`skipped ${unnamed} more`);
  if (report.next_run_at !== null) lines.push(`runs again at ${time(report.next_run_at)}`);
  return lines.map((line) => `${line}\n`).join('');
}

/** @throws Failure unless the import is done, or nobody waited for it */
function requireDone({ state, error, skipped }: Import, look: string, timeout: number): void {
  if (state === 'waiting' && error !== null) throw new Failure(`the run failed: ${harmless(error)}`);
  if (state === 'failed') throw new Failure(`the import failed: ${harmless(error ?? 'for no reason')}`);
  if (state === 'cancelled') throw new Failure('the import was cancelled');
  if (state === 'running' && timeout > 0)
    throw new Failure(`the import is not done after ${duration(timeout)}; it goes on by itself: ${look}`);
  if (skipped > 0) throw new Failure(`repositories and images skipped: ${skipped}. See above`);
}
