/** The cost of the console's pages: how often each asks D1, in a new isolate of a data center that knows the login. */
import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { createApp } from '../../src/app.ts';
import { addUsers, callApi } from '../support/client.ts';
import { countD1, noCounts } from '../support/counting.ts';
import { ThreeHosts } from '../support/three-hosts.ts';
import { CONFIG, layer, pushParts } from './pushed-image.ts';
import { Reader } from './support.ts';

const APP = 'alice/app';
const OPEN = 'alice/open';
/** The most round trips that a page may take to one store. */
const MOST = 3;

const stores = { DB_CENTRAL: noCounts(), DB_NODE1: noCounts(), DB_NODE2: noCounts() };
const app = createApp();

/** Answers in an isolate of its own, which has remembered nothing, and waits for deferred work. */
async function inNewIsolate(request: Request): Promise<Response> {
  const counted = {
    DB_CENTRAL: countD1(env.DB_CENTRAL, stores.DB_CENTRAL),
    DB_NODE1: countD1(env.DB_NODE1!, stores.DB_NODE1),
    DB_NODE2: countD1(env.DB_NODE2!, stores.DB_NODE2),
  };
  const context = createExecutionContext();
  const response = await app.fetch(request, { ...env, ...counted }, context);
  const body = await response.arrayBuffer();
  await waitOnExecutionContext(context);
  return new Response(response.body === null ? null : body, response);
}

let digest: string;

beforeEach(async () => {
  await addUsers();
  const hosts = await ThreeHosts.open();
  for (const repository of [APP, OPEN]) {
    await pushParts(hosts, repository, 'latest', { mediaType: CONFIG, text: '{"os":"linux"}' }, [layer('one')]);
    digest = await pushParts(hosts, repository, 'latest', { mediaType: CONFIG, text: '{}' }, [layer('one')]);
  }
  expect((await callApi('PATCH', 'organizations/alice/repositories/open', 'alice', { visibility: 'public' })).ok).toBe(
    true,
  );
  await hosts.drain();
});

const PAGES: readonly (readonly [user: string, path: string])[] = [
  ['admin', '/'],
  ['admin', '/organizations'],
  ['admin', '/organizations/alice'],
  ['admin', '/organizations/alice/repositories'],
  ['admin', '/replication'],
  ['admin', '/replication/node1'],
  ['admin', '/storage'],
  ['admin', '/audit'],
  ['admin', '/audit?action=create+organization'],
  ['admin', '/images'],
  ['admin', `/images/${OPEN}`],
  ['admin', `/images/${OPEN}:latest`],
  ['alice', '/organizations/alice'],
  ['alice', '/audit'],
  ['alice', '/images'],
  ['alice', '/images?sort=pushed'],
  ['alice', `/images/${APP}`],
  ['alice', `/images/${APP}/-/untagged`],
  ['alice', `/images/${APP}:latest`],
  ['alice', `/images/${APP}:latest/contents`],
  ['alice', `/images/${APP}:latest/history`],
  ['alice', `/images/${APP}:latest/difference?from={digest}&to={digest}`],
  ['bob', `/images/${OPEN}`],
  ['bob', `/images/${OPEN}/-/untagged`],
  ['bob', `/images/${OPEN}:latest`],
  ['bob', `/images/${OPEN}:latest/history`],
];

test.each(PAGES)('%s opens %s within three round trips to each store', async (user, path) => {
  const reader = await Reader.signedIn(user, `${user}-secret`, inNewIsolate);
  const asked = path.replaceAll('{digest}', digest);
  // The first time, uses and pulls of the hour are noted as well.
  await reader.text(asked);
  for (const counts of Object.values(stores)) Object.assign(counts, noCounts());
  await reader.text(asked);
  const trips = Object.values(stores).map(({ d1 }) => d1);
  expect(Math.max(...trips), `round trips to central and the nodes: ${trips.join(', ')}`).toBeLessThanOrEqual(MOST);
  expect(trips[0]).toBeGreaterThan(0);
});
