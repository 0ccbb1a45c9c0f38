/** Finds the largest request body that the zone lets through, by sending larger ones until one is refused. */
import { type Answer, unexpected } from './client.ts';
import type { Host } from './hosts.ts';
import { Failed, type Found, failure, notChecked, ok, warning } from './line.ts';
import { openUpload } from './push.ts';
import type { Run } from './run.ts';

/** Sizes in MB, on both sides of the limits of the plans: 100, 200 and 500 MB. */
const SIZES = [10, 50, 99, 101, 200, 512];

/** Every plan lets this much through. */
const LEAST = 99;

/** Milliseconds for each MB, at 200 kB a second. */
const DEADLINE_OF_MB = 5000;

const PIECE = Buffer.alloc(1_000_000);

const PLANS = 'docs/limits.md has the limits of the plans, and how to push larger layers.';

/** Checks the host that was named: all hosts of a zone have the same limit. */
export async function* checkLargestBody(run: Run): AsyncGenerator<Found, void> {
  const { scratch, options } = run;
  const [host] = run.hosts;
  if (!options.large) return yield notChecked('only with --large');
  if (scratch === undefined || host === undefined || !run.images.has(host))
    return yield notChecked('nothing was pushed to the host');
  let passed = 0;
  for (const size of SIZES) {
    const refusal = await send(run, host, size);
    if (refusal === undefined) {
      passed = size;
      continue;
    }
    const seen =
      passed === 0 ? `no body of ${size} MB passes: ${refusal}` : `${passed} MB pass, ${size} MB do not: ${refusal}`;
    if (passed === 0) yield failure(seen, PLANS);
    else yield passed < LEAST ? warning(seen, PLANS) : ok(seen);
    return;
  }
  yield ok(`${passed} MB pass`);
}

/** Returns why a body of this size is refused; undefined if it passes. */
async function send({ client, scratch }: Run, host: Host, size: number): Promise<string | undefined> {
  if (scratch === undefined) return undefined;
  const location = await openUpload(client, scratch, host);
  try {
    const answer: Answer = await scratch.ask(client, host, location, {
      method: 'PATCH',
      headers: { 'Content-Type': 'application/octet-stream', 'Content-Length': String(size * PIECE.byteLength) },
      body: pieces(size),
      deadline: size * DEADLINE_OF_MB,
    });
    return answer.status === 202 ? undefined : unexpected(answer).message;
  } catch (error) {
    // An edge may close the connection instead of answering.
    if (error instanceof Failed) return error.message;
    throw error;
  } finally {
    if (!client.signal.aborted) await scratch.ask(client, host, location, { method: 'DELETE' });
  }
}

function* pieces(count: number): Generator<Buffer> {
  for (let i = 0; i < count; i++) yield PIECE;
}
