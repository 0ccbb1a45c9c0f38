import type { Command } from 'commander';
import type { HistoryEntry } from '../answers.ts';
import { path, splitRepository } from '../api.ts';
import { WrongUse } from '../errors.ts';
import { connected, wantsJson, withExamples, withJson } from '../options.ts';
import { type ImageReference, parseImageReference } from '../reference.ts';
import { digestFor, print, printJson, table, time } from '../terminal.ts';

interface HistoryPage {
  readonly history: readonly HistoryEntry[];
  readonly last: string | null;
  readonly complete: boolean;
}

export function history(berth: Command): void {
  const command = withJson(berth.command('history'))
    .description('list all writes of a tag, the latest first, with those that lost a conflict')
    .argument('<image>', '[HOST/]ORG/NAME[:TAG]')
    .action(async (text: string) => {
      const image = parseImageReference(text);
      const api = await connected(command, image.host);
      let complete = true;
      const entries = await api.pages(async (last) => {
        const query = { n: 100, last };
        const page = await api.call<HistoryPage>('GET', `${pathOfTag(image)}/history`, { query });
        ({ complete } = page);
        return { items: page.history, next: page.last ?? undefined };
      });
      if (wantsJson(command)) return printJson({ history: entries, complete });
      print(
        table(entries, {
          WRITE: ({ version, origin }) => `${version}.${origin}`,
          DIGEST: ({ digest }) => (digest === null ? 'deleted' : digestFor(digest)),
          AUTHOR: ({ author }) => author,
          WRITTEN: ({ version }) => time(new Date(version / 1000).toISOString()),
          STATE: (entry) => stateOf(entry),
          STORES: ({ stores }) => stores.join(', '),
        }),
      );
      if (!complete) console.error('A store does not answer: it may know of other writes.');
    });
  withExamples(command, ['berth history index.example.com/acme/app:1.2']);
}

/** Returns whether the write counts, can be restored, or neither. */
function stateOf({ current, restorable }: HistoryEntry) {
  if (current) return { text: 'current', tone: 'good' } as const;
  return restorable ? 'restorable' : 'gone';
}

export function restore(berth: Command): void {
  const command = withJson(berth.command('restore'))
    .description('point a tag to an image of its history again')
    .argument('<image>', '[HOST/]ORG/NAME[:TAG]')
    .argument('<write>', 'the write, as berth history shows it: VERSION.STORE')
    .action(async (text: string, write: string) => {
      const image = parseImageReference(text);
      const [, version, origin] = /^(\d{1,16})\.([a-z0-9-]+)$/.exec(write) ?? [];
      if (version === undefined) throw new WrongUse(`${write} is not a write: take it from berth history ${text}`);
      const api = await connected(command, image.host);
      const body = { version: Number(version), origin };
      const restored = await api.call<{ digest: string; version: number }>('POST', `${pathOfTag(image)}/restore`, {
        body,
      });
      if (wantsJson(command)) return printJson(restored);
      print(`${image.repository}:${image.tag ?? 'latest'} is ${digestFor(restored.digest)} again\n`);
    });
  withExamples(command, ['berth restore index.example.com/acme/app:1.2 1790000000000000.fra']);
}

function pathOfTag({ repository, tag = 'latest', digest }: ImageReference): string {
  if (digest !== undefined) throw new WrongUse('only tags have a history: leave out the digest');
  const [organization, name] = splitRepository(repository);
  return path`/api/organizations/${organization}/repositories/${name}/images/${tag}`;
}
