import type { Command } from 'commander';
import type { Prefetched } from '../answers.ts';
import { path, splitRepository } from '../api.ts';
import { Failure } from '../errors.ts';
import { connected, seconds, wantsJson, withExamples, withJson } from '../options.ts';
import { parseImageReference, referenceOf } from '../reference.ts';
import { digestFor, duration, print, printJson } from '../terminal.ts';
import { lineOnChange, untilDone } from '../waiting.ts';

export function prefetch(berth: Command): void {
  const command = withJson(berth.command('prefetch'))
    .description('copy an image to a node before it is pulled there, and wait for the copy')
    .argument('<image>', '[HOST/]ORG/NAME[:TAG|@DIGEST]')
    .argument('<node>', 'the name of the node')
    .option('--timeout <duration>', 'stop waiting after this time; 0 does not wait', seconds, 600)
    .action(async (text: string, node: string, { timeout }: { readonly timeout: number }) => {
      const image = parseImageReference(text);
      const api = await connected(command, image.host);
      const [organization, name] = splitRepository(image.repository);
      const to = path`/api/organizations/${organization}/repositories/${name}/images/${referenceOf(image)}/prefetch`;
      const say = lineOnChange();
      let last: Prefetched | undefined;
      await untilDone(
        timeout,
        async (wait) => (last = await api.call<Prefetched>('POST', to, { query: { wait }, body: { node } })),
        ({ done }) => done,
        ({ blobs }) => say(`${node} has ${blobs.copied} of ${blobs.total} blobs`),
      );
      if (last === undefined) return;
      if (wantsJson(command)) printJson(last);
      if (!last.done && timeout > 0)
        throw new Failure(`${node} does not have ${text} after ${duration(timeout)}; the copy goes on by itself`);
      if (wantsJson(command)) return;
      print(`${last.done ? `${node} has` : `${node} is copying`} ${text}: ${digestFor(last.digest)}\n`);
      if (!last.complete) console.error('The image is too large to copy whole: pulls get the rest from elsewhere.');
    });
  withExamples(
    command,
    ['berth prefetch index.example.com/acme/app:1.2 fra'],
    ['berth prefetch index.example.com/acme/app:1.2 fra --timeout 0', 'start the copy, and do not wait for it'],
  );
}
