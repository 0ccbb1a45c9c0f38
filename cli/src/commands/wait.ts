import { type Command, Option } from 'commander';
import type { Image } from '../answers.ts';
import { path, splitRepository } from '../api.ts';
import { Failure } from '../errors.ts';
import { connected, seconds, wantsJson, withExamples, withJson } from '../options.ts';
import { parseImageReference, referenceOf } from '../reference.ts';
import { digestFor, duration, harmless, print, printJson, size } from '../terminal.ts';
import { lineOnChange, untilDone } from '../waiting.ts';

interface Options {
  readonly for: 'announced' | 'settled';
  readonly push?: string;
  readonly timeout: number;
}

export function wait(berth: Command): void {
  const state = new Option('--for <state>', 'announced: every host serves it; settled: central has all its bytes');
  const command = withJson(berth.command('wait'))
    .description('wait until an image that was pushed to a node is seen everywhere')
    .argument('<image>', '[HOST/]ORG/NAME[:TAG|@DIGEST], at the host that it was pushed to')
    .addOption(state.choices(['announced', 'settled']).default('settled'))
    .option('--push <version>', 'wait for this push, by the version that its answer had in Berth-Version')
    .option('--timeout <duration>', 'give up after this time', seconds, 600)
    .action(async (text: string, { for: wanted, push, timeout }: Options) => {
      const image = parseImageReference(text);
      const api = await connected(command, image.host);
      const [organization, name] = splitRepository(image.repository);
      const to = path`/api/organizations/${organization}/repositories/${name}/images/${referenceOf(image)}`;
      const say = lineOnChange();
      const last = await untilDone(
        timeout,
        (waitSeconds) => api.call<Image>('GET', to, { query: { wait: waitSeconds, for: wanted, version: push } }),
        (answer) => isFinal(answer) || answer.state === wanted,
        (answer) => say(progressOf(answer)),
      );
      if (last === undefined)
        throw new Failure(`${text} is not ${wanted} after ${duration(timeout)}: see berth status`);
      if (wantsJson(command)) printJson(last);
      requireReached(text, last);
      if (!wantsJson(command)) print(`${text} is ${last.state}: ${digestFor(last.digest ?? '')}\n`);
    });
  withExamples(
    command,
    ['berth wait index.fra.example.com/acme/app:1.2', 'until central has all bytes'],
    ['berth wait index.fra.example.com/acme/app:1.2 --for announced', 'until every host serves it'],
    ['berth wait index.fra.example.com/acme/app:1.2 --timeout 30m'],
  );
}

function isFinal({ state }: Image): boolean {
  return state === 'settled' || state === 'parked' || state === 'superseded';
}

function progressOf({ state, blobs, bytes, last_error: error }: Image): string {
  const reason = error === null ? '' : `; last error: ${harmless(error)}`;
  return `${state}: central has ${blobs.copied} of ${blobs.total} blobs, ${size(bytes.copied)} of ${size(bytes.total)}${reason}`;
}

/** @throws Failure if waiting longer would not help */
function requireReached(text: string, { state, last_error: error }: Image): void {
  if (state === 'parked') {
    const reason = harmless(error ?? 'its jobs were given up');
    throw new Failure(
      `${text} is parked: ${reason}. An operator looks at berth status STORE, then runs berth retry STORE`,
    );
  }
  if (state === 'superseded')
    throw new Failure(`${text} is superseded: another push or a deletion has won. See berth history ${text}`);
}
