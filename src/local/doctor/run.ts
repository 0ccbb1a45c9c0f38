/** A run of the doctor: what all checks share, and the order in which they run. */
import type { Login, Options } from './arguments.ts';
import { checkLargestBody } from './body-size.ts';
import { Client } from './client.ts';
import { checkConsole } from './console.ts';
import {
  checkMaintenance,
  checkQueues,
  checkScrub,
  checkSecrets,
  checkStores,
  type Deployment,
  readDeployment,
} from './deployment.ts';
import { checkClock, checkHealth, checkLoginChallenge } from './edge.ts';
import { checkDeletedEverywhere, checkSeenEverywhere } from './everywhere.ts';
import { type Host, hostsToCheck } from './hosts.ts';
import { checkLatency } from './latency.ts';
import { Failed, failure, type Found, type Line, notChecked, ok } from './line.ts';
import { checkAddress, checkCertificate, checkPlainHttp } from './network.ts';
import { checkHeaders, checkPull, checkRange } from './pull.ts';
import { checkPush, type Image } from './push.ts';
import { openScratch, type Scratch } from './scratch.ts';

export interface Run {
  readonly options: Options;
  readonly client: Client;
  /** The answer of `/api/deployment`; undefined without an administrator's credential. */
  readonly deployment: Deployment | undefined;
  readonly hosts: readonly Host[];
  /** Hosts that failed a check of {@link REACHABLE}. Nothing else is checked there. */
  readonly unreachable: Set<Host>;
  /** Undefined without the credential of an organization that may push. */
  readonly scratch: Scratch | undefined;
  /** The images that were pushed, by host. */
  readonly images: Map<Host, Image>;
}

type HostCheck = (run: Run, host: Host) => AsyncGenerator<Found, void>;
type DeploymentCheck = (run: Run) => AsyncGenerator<Found, void>;

/** If one of these fails at a host, nothing else is checked there. */
const REACHABLE: Readonly<Record<string, HostCheck>> = {
  address: checkAddress,
  certificate: checkCertificate,
  'login challenge': checkLoginChallenge,
};

const WITHOUT_LOGIN: Readonly<Record<string, HostCheck>> = {
  'plain HTTP': checkPlainHttp,
  health: checkHealth,
  clock: checkClock,
};

const OF_ADMINISTRATORS: Readonly<Record<string, DeploymentCheck>> = {
  stores: checkStores,
  secrets: checkSecrets,
  maintenance: checkMaintenance,
  scrub: checkScrub,
  queues: checkQueues,
  console: checkConsole,
};

const OF_IMAGES: Readonly<Record<string, HostCheck>> = {
  push: checkPush,
  headers: checkHeaders,
  pull: checkPull,
  range: checkRange,
};

const LATENCY: Readonly<Record<string, HostCheck>> = { latency: checkLatency };

const OF_ALL_HOSTS: Readonly<Record<string, DeploymentCheck>> = {
  'largest body': checkLargestBody,
  'seen everywhere': checkSeenEverywhere,
  'deleted everywhere': checkDeletedEverywhere,
};

/** The most hosts that are checked, or cleaned up, at the same time. */
const AT_ONCE = 4;

/** The longest that cleaning up may take at a host, whatever happened before. */
const CLEAN_UP_MILLISECONDS = 60_000;

/**
 * Yields the findings of the checks. It removes what it has pushed, even after an error and once `signal` is aborted.
 * @throws the signal's reason once it is aborted
 */
export async function* examine(options: Options, signal: AbortSignal): AsyncGenerator<Line, void> {
  const client = new Client(signal);
  const { url, administrator, organization } = options;
  let scratch: Scratch | undefined;
  try {
    const deployment =
      administrator && (yield* linesOf('administrator', null, signal, logIn(client, url, administrator)));
    const hosts = hostsToCheck(options, deployment);
    const run: Run = { options, client, deployment, hosts, unreachable: new Set(), scratch, images: new Map() };
    yield* atHosts(run, REACHABLE);
    yield* atHosts(run, WITHOUT_LOGIN);
    if (deployment !== undefined) yield* ofDeployment(run, OF_ADMINISTRATORS);
    else if (administrator === undefined) {
      const needs = notChecked("they need an administrator's credential: set BERTH_USER and BERTH_PASSWORD");
      yield { check: 'stores, secrets, maintenance, scrub, queues, console and more hosts', host: null, ...needs };
    }
    const first = hosts.find((host) => !run.unreachable.has(host));
    if (organization === undefined) {
      const needs =
        "they need an organization's credential: set BERTH_ORGANIZATION_USER and BERTH_ORGANIZATION_PASSWORD";
      yield { check: 'push, pull, latency, replication', host: null, ...notChecked(needs) };
    } else if (first !== undefined) {
      scratch = yield* linesOf('organization', null, signal, chooseRepository(client, first, organization));
    }
    if (scratch !== undefined) yield* withImages({ ...run, scratch });
  } finally {
    client.close();
    if (scratch !== undefined) yield* cleanUp(scratch);
  }
}

async function* logIn(client: Client, url: URL, login: Login): AsyncGenerator<Found, Deployment> {
  const deployment = await readDeployment(client, url, login);
  yield ok(`${login.user} may read the deployment: ${deployment.registries.map(({ name }) => name).join(', ')}`);
  return deployment;
}

async function* chooseRepository(client: Client, host: Host, login: Login): AsyncGenerator<Found, Scratch> {
  const scratch = await openScratch(client, host, login);
  yield ok(`${login.user} pushes to ${scratch.repository}`);
  return scratch;
}

async function* withImages(run: Run): AsyncGenerator<Line, void> {
  yield* atHosts(run, OF_IMAGES);
  // Measure one host after another, so that checks at the others do not distort the latency.
  for (const host of run.hosts) yield* atHost(run, host, LATENCY);
  yield* ofDeployment(run, OF_ALL_HOSTS);
}

/** A host that does not answer does not keep the doctor from cleaning up at the others. */
function cleanUp(scratch: Scratch): AsyncGenerator<Line, void> {
  return fewAtATime(scratch.hosts, async function* (host) {
    const cleaner = new Client(AbortSignal.timeout(CLEAN_UP_MILLISECONDS));
    yield* linesOf('clean-up', host.name, cleaner.signal, scratch.remove(cleaner, host));
    cleaner.close();
  });
}

function atHosts(run: Run, checks: Readonly<Record<string, HostCheck>>): AsyncGenerator<Line, void> {
  return fewAtATime(run.hosts, (host) => atHost(run, host, checks));
}

/** Does something at a few hosts at a time, and yields the lines of each host together. */
async function* fewAtATime(
  hosts: readonly Host[],
  linesAt: (host: Host) => AsyncGenerator<Line, void>,
): AsyncGenerator<Line, void> {
  for (let i = 0; i < hosts.length; i += AT_ONCE) {
    const together = hosts.slice(i, i + AT_ONCE).map((host) => Array.fromAsync(linesAt(host)));
    // After a failure the others run to their end, so that nothing is pushed while the repository is removed.
    await Promise.allSettled(together);
    for (const lines of together) yield* await lines;
  }
}

async function* atHost(run: Run, host: Host, checks: Readonly<Record<string, HostCheck>>): AsyncGenerator<Line, void> {
  const { signal } = run.client;
  for (const [check, found] of Object.entries(checks)) {
    if (run.unreachable.has(host)) return;
    for await (const line of linesOf(check, host.name, signal, found(run, host))) {
      yield line;
      if (checks !== REACHABLE || line.outcome !== 'failure') continue;
      run.unreachable.add(host);
      yield { check: 'everything else', host: host.name, ...notChecked(`because of the ${check}`) };
    }
  }
}

async function* ofDeployment(run: Run, checks: Readonly<Record<string, DeploymentCheck>>): AsyncGenerator<Line, void> {
  for (const [check, found] of Object.entries(checks)) yield* linesOf(check, null, run.client.signal, found(run));
}

/** Names the check in each of its lines, and adds a line if it fails. @returns what the check returns */
async function* linesOf<Result>(
  check: string,
  host: string | null,
  signal: AbortSignal,
  found: AsyncGenerator<Found, Result>,
): AsyncGenerator<Line, Result | undefined> {
  try {
    let next = await found.next();
    while (next.done !== true) {
      yield { check, host, ...next.value };
      next = await found.next();
    }
    return next.value;
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof Failed)) throw error;
    yield { check, host, ...failure(error.message, error.todo) };
    return undefined;
  }
}
