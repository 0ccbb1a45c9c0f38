import type { Command } from 'commander';
import type { Pin } from '../answers.ts';
import { path, splitRepository } from '../api.ts';
import { connected, wantsJson, withExamples, withJson } from '../options.ts';
import { parseImageReference, referenceOf } from '../reference.ts';
import { print, printJson, table, time } from '../terminal.ts';

const IMAGE = '[HOST/]ORG/NAME[:TAG|@DIGEST]';

export function pin(berth: Command): void {
  const group = berth.command('pin').description('keep images from being evicted from nodes');
  const ofImage = (name: string) => withJson(group.command(name)).argument('<image>', IMAGE);
  const ofNode = (name: string) => ofImage(name).argument('<node>', 'the name of the node');

  const ls = ofImage('ls')
    .description('list the nodes that an image is pinned to')
    .action(async (text: string) => {
      const { host, to } = pinsOf(text);
      const answer = await (await connected(ls, host)).call<{ pins: Pin[] }>('GET', to);
      if (wantsJson(ls)) return printJson(answer);
      print(table(answer.pins, { NODE: ({ node }) => node, PINNED: ({ pinned_at: at }) => time(at) }));
    });
  withExamples(ls, ['berth pin ls index.example.com/acme/app:1.2']);

  const add = ofNode('add')
    .description('pin an image to a node; a pinned tag keeps whichever image it names')
    .action(async (text: string, node: string) => {
      const { host, to } = pinsOf(text);
      const made = await (await connected(add, host)).call<Pin>('PUT', to + path`/${node}`);
      if (wantsJson(add)) return printJson(made);
      print(`pinned ${text} to ${node}\n`);
    });
  withExamples(add, ['berth pin add index.example.com/acme/app:1.2 fra']);

  const remove = ofNode('rm')
    .description('remove a pin')
    .action(async (text: string, node: string) => {
      const { host, to } = pinsOf(text);
      await (await connected(remove, host)).send('DELETE', to + path`/${node}`);
      if (wantsJson(remove)) return printJson({ removed: text, node });
      print(`${text} may be evicted from ${node}\n`);
    });
  withExamples(remove, ['berth pin rm index.example.com/acme/app:1.2 fra']);
}

function pinsOf(text: string): { readonly host: string; readonly to: string } {
  const image = parseImageReference(text);
  const [organization, name] = splitRepository(image.repository);
  const to = path`/api/organizations/${organization}/repositories/${name}/images/${referenceOf(image)}/pins`;
  return { host: image.host, to };
}
