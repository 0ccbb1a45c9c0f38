/**
 * `npm run test:crash -- --times <kills> --seed <seed>`: kills the registry with -9 during many concurrent pushes and
 * deletions, and starts it again on the same state. Acknowledged data must be there, byte for byte. An unacknowledged
 * change must be either done or not done, never half. Every interrupted job must succeed when it runs again.
 */
import { parseArgs } from 'node:util';
import { freePort } from '../../src/local/simulators.ts';
import { removeFolder, type Server, startServer, temporaryFolder } from '../support/local/server.ts';
import { Random } from '../support/random.ts';
import { contentOf, type Material } from '../support/registry-jobs.ts';
import { postWhole } from '../support/registry-changes.ts';
import type { Content } from '../support/registry-model.ts';
import { Connection } from './client.ts';
import { CrashActor } from './crash-actor.ts';
import { Tally } from './tally.ts';

const ACTORS = 8;
/**
 * Starts with a fresh state after this many kills, because everything is compared after each restart and a state grows.
 */
const KILLS_OF_A_STATE = 10;
/** Bytes of a blob, with the weight of each size. The last is larger than a part of a multipart upload. */
const SIZES = { 2_000: 40, 40_000: 30, 400_000: 8, 12_000_000: 2 };
const SOURCE = 'alice/source';
/** A kill happens when one of these requests is answered, or at most MILLISECONDS_AFTER_REQUEST after it starts. */
const REQUESTS_BEFORE_KILL = [ACTORS, 160] as const;
const MILLISECONDS_AFTER_REQUEST = 30;

const { values } = parseArgs({
  options: { times: { type: 'string', default: '20' }, seed: { type: 'string', default: '1' } },
});
const times = Number(values.times);
const seed = Number(values.seed);
if (!Number.isInteger(times) || times < 1 || !Number.isInteger(seed)) {
  console.error('usage: npm run test:crash -- --times <kills> --seed <whole number>');
  process.exit(1);
}

const tally = new Tally();
let server: Server | undefined;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));

console.log(`seed ${seed}: ${times} kills, ${ACTORS} clients`);
const failures: string[] = [];
for (let first = 0; first < times; first += KILLS_OF_A_STATE) {
  await killRepeatedly(first, Math.min(times, first + KILLS_OF_A_STATE));
}
console.log(tally.report());
console.log(`${times - failures.length} passed, ${failures.length} failed`);
process.exitCode = failures.length === 0 ? 0 : 1;

/** Kills one state repeatedly. The first failure ends it, because later kills would fail for the same reason. */
async function killRepeatedly(first: number, end: number): Promise<void> {
  const folder = await temporaryFolder();
  try {
    server = await startServer(folder, await freePort());
    const shared = await Promise.all(
      [500, 30_000, 200_000].map((size, i) => contentOf(new Random(seed, first, i, size).bytes(size))),
    );
    const actors = Array.from({ length: ACTORS }, (_, i) => {
      return new CrashActor(
        `alice/crash-${i}`,
        new Random(seed, first, 1000 + i),
        new Connection(started()).send,
        tally,
      );
    });
    await prepare(new Connection(started()), shared);
    for (let kill = first; kill < end; kill++) {
      const wrong = await killOnce(folder, actors, { sizes: SIZES, shared, source: SOURCE }, kill);
      if (wrong.length === 0) continue;
      console.log(`FAILED kill ${kill + 1} of seed ${seed}\n    ${wrong.slice(0, 20).join('\n    ')}`);
      failures.push(...Array.from({ length: end - kill }, () => `kill ${kill + 1}`));
      return;
    }
    const { send } = new Connection(started());
    const wrong = (await Promise.all(actors.map((actor) => actor.compare(send)))).flat();
    if (wrong.length > 0) failures.push(`after kill ${end}`);
    console.log(
      wrong.length === 0
        ? `ok kills ${first + 1} to ${end}`
        : `FAILED after kill ${end} of seed ${seed}\n    ${wrong.join('\n    ')}`,
    );
  } finally {
    await server?.kill();
    await removeFolder(folder);
  }
}

/** Runs one round: work, kill, restart, compare everything, repeat what was interrupted. Returns the differences. */
async function killOnce(
  folder: string,
  actors: readonly CrashActor[],
  material: Material,
  kill: number,
): Promise<string[]> {
  const random = new Random(seed, kill);
  const { port } = started();
  const [least, most] = REQUESTS_BEFORE_KILL;
  let left = random.between(least, most);
  const moment = random.chance(0.5) ? 'request' : 'answer';
  const after = random.next() * MILLISECONDS_AFTER_REQUEST;
  const reached = Promise.withResolvers<void>();
  const connection = new Connection(started(), (now) => {
    if (now !== moment || --left !== 0) return;
    // Data that was acknowledged a moment ago is the most likely to be lost in a crash.
    if (moment === 'answer') {
      // Resolve first: the clients whose requests break off may finish before anything else does. The next kill waits
      // for this.
      reached.resolve();
      connection.kill().catch(() => undefined);
    } else setTimeout(reached.resolve, after);
  });
  for (const actor of actors) actor.use(connection.send);
  const work = Promise.all(actors.map((actor) => actor.work(material)));
  // An actor that fails is reported before the kill is due.
  const early = await Promise.race([
    reached.promise,
    work.then(
      () => 'the clients stopped',
      (error: unknown) => String(error),
    ),
  ]);
  await connection.kill();
  tally.kills++;
  if (typeof early === 'string') return [early];
  try {
    await work;
    server = await startServer(folder, port);
    const { send } = new Connection(started());
    // The isolate remembers this first login.
    await send({ method: 'GET', path: '/v2/' });
    const wrong = (await Promise.all(actors.map((actor) => actor.compare(send)))).flat();
    if (wrong.length > 0) return wrong;
    await Promise.all(actors.map((actor) => actor.again()));
    return [];
  } catch (error) {
    return [String(error)];
  }
}

async function prepare({ send }: Connection, shared: readonly Content[]): Promise<void> {
  for (const blob of shared) {
    const { status } = await send(postWhole(SOURCE, blob).request);
    if (status !== 201) throw new Error(`could not push the source repository: ${status}`);
  }
}

function started(): Server {
  if (server === undefined) throw new Error('the server is not running');
  return server;
}
