/**
 * `npm run test:crash -- --times <kills> --seed <seed>`: the registry is killed with -9 in the middle of many concurrent
 * pushes and deletions, and started again on the same state. What was acknowledged has to be there, every byte of it;
 * what was not is either done or not done, never half; and whatever was interrupted works when it is done again.
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
/** After so many kills a fresh state: everything is compared after every restart, and it grows. */
const KILLS_OF_A_STATE = 10;
/** The last is more than a part of a multipart upload. */
const SIZES = { 2_000: 40, 40_000: 30, 400_000: 8, 9_000_000: 1 };
const SOURCE = 'alice/source';
/** The moment of a kill: when one of these requests is answered; or so many milliseconds, at most, after it starts. */
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

/** The kills of one state. The first that fails is the state's last: what follows would fail of the same. */
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

/** One round: work, kill, restart, compare everything, do again what was interrupted. Answers what is wrong. */
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
    // What was acknowledged a moment ago is what a crash may take back.
    if (moment === 'answer') {
      // First: the clients whose requests break off with it may be done before anything else is. The next kill waits
      // for this.
      reached.resolve();
      connection.kill().catch(() => undefined);
    } else setTimeout(reached.resolve, after);
  });
  for (const actor of actors) actor.use(connection.send);
  const work = Promise.all(actors.map((actor) => actor.work(material)));
  // An actor that fails has its say before the kill is due.
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
    // The first login is one that the isolate remembers.
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
    if (status !== 201) throw new Error(`the source could not be pushed: ${status}`);
  }
}

function started(): Server {
  if (server === undefined) throw new Error('there is no server');
  return server;
}
