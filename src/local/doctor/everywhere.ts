/** Checks that a push to one host, and then its deletion, are seen at every other. */
import { setTimeout as pause } from 'node:timers/promises';
import { type Answer, requireStatus } from './client.ts';
import type { Host } from './hosts.ts';
import { type Found, failure, notChecked, ok } from './line.ts';
import { type Image, pushManifest } from './push.ts';
import type { Run } from './run.ts';
import type { Scratch } from './scratch.ts';

const INTERVAL_MILLISECONDS = 250;

/** A tag that the check pushes itself, to measure how long a push takes to be seen. */
const TAG = 'seen-everywhere';

/** Bytes of a layer that are pulled at a host which has to fetch them from elsewhere. */
const SAMPLE = 1024;

const QUEUES = 'The queue of its node may be stuck: docs/operations.md, "Alerts", says where to look.';

interface Pushed {
  readonly scratch: Scratch;
  readonly origin: Host;
  readonly image: Image;
}

const isNode = ({ registry }: Host): boolean => registry !== undefined && registry !== 'central';

/** Chooses a push to a node, because it takes the longest way to the others; if there is none, any push. */
function pushedSomewhere({ hosts, images, scratch }: Run): Pushed | undefined {
  const origins = hosts.filter((host) => images.has(host));
  const origin = origins.find(isNode) ?? origins[0];
  const image = origin && images.get(origin);
  return scratch === undefined || origin === undefined || image === undefined ? undefined : { scratch, origin, image };
}

export async function* checkSeenEverywhere(run: Run): AsyncGenerator<Found, void> {
  const pushed = pushedSomewhere(run);
  if (pushed === undefined) return yield notChecked('nothing was pushed');
  const { scratch, origin, image } = pushed;
  const others = run.hosts.filter((host) => host !== origin && !run.unreachable.has(host));
  if (others.length === 0) return yield notChecked('there is only one host');
  const [layer] = image.layers;
  await pushManifest(run.client, scratch, origin, image, TAG);
  const wait = waitFor(run);
  for (const host of others) {
    const seconds = await wait(async () => {
      const answer = await scratch.ask(run.client, host, `manifests/${TAG}`, accepting(image));
      return isThere(answer) && answer.body.equals(image.manifest.bytes);
    });
    if (seconds === undefined) {
      yield failure(`a push to ${origin.name} is not seen at ${host.name} within ${run.options.wait / 1000} s`, QUEUES);
      continue;
    }
    const headers = { Range: `bytes=0-${SAMPLE - 1}` };
    const part = requireStatus(await scratch.ask(run.client, host, `blobs/${layer.digest}`, { headers }), 206);
    if (part.body.equals(layer.bytes.subarray(0, SAMPLE)))
      yield ok(`a push to ${origin.name} is seen at ${host.name} after ${seconds}`);
    else yield failure(`${host.name} gives other bytes of a push to ${origin.name}`, QUEUES);
  }
}

/** Deletes by digest, because other nodes hear of such a deletion last. */
export async function* checkDeletedEverywhere(run: Run): AsyncGenerator<Found, void> {
  const pushed = pushedSomewhere(run);
  if (pushed === undefined) return yield notChecked('nothing was pushed');
  const { scratch, origin, image } = pushed;
  const path = `manifests/${image.manifest.digest}`;
  requireStatus(await scratch.ask(run.client, origin, path, { method: 'DELETE' }), 202);
  run.images.delete(origin);
  const wait = waitFor(run);
  for (const host of run.hosts) {
    if (run.unreachable.has(host)) continue;
    const seconds = await wait(async () => {
      const paths = [path, `manifests/${TAG}`];
      const asked = paths.map((each) => scratch.ask(run.client, host, each, accepting(image)));
      const answers = await Promise.all(asked);
      return !answers.some(isThere);
    });
    const what = `a deletion at ${origin.name}`;
    if (seconds !== undefined) yield ok(`${what} is seen at ${host.name} after ${seconds}`);
    else yield failure(`${what} is not seen at ${host.name} within ${run.options.wait / 1000} s`, QUEUES);
  }
}

const accepting = ({ mediaType }: Image) => ({ headers: { Accept: mediaType } });

/** @throws Failed if the answer is neither the content nor 404 */
function isThere(answer: Answer): boolean {
  return requireStatus(answer, 200, 404).status === 200;
}

/**
 * Returns a function that waits for a condition and returns how long that took since now; undefined if it took too
 * long. All its waits end together, so that those for many hosts do not add up; each condition is tried at least once.
 */
function waitFor({ client, options }: Run): (condition: () => Promise<boolean>) => Promise<string | undefined> {
  const began = Date.now();
  return async (condition) => {
    while (!(await condition())) {
      if (Date.now() - began > options.wait) return undefined;
      await pause(INTERVAL_MILLISECONDS, undefined, { signal: client.signal });
    }
    return `${((Date.now() - began) / 1000).toFixed(1)} s`;
  };
}
