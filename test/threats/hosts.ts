/** The hosts that each attack is tried at, with the requests of the tests bound to them. */
import { env } from 'cloudflare:workers';
import { call, type CallOptions, HOST, tokenOf, type UserName } from '../support/client.ts';
import { putBlob, putImage, putManifest } from '../support/content.ts';
import { type Image, snapshotWithoutUse } from '../support/fixture.ts';
import { SAMPLE } from '../support/sample.ts';
import { ORIGINS, ThreeHosts } from '../support/three-hosts.ts';

export type As = NonNullable<CallOptions['as']>;

type Store = readonly [database: D1Database, bucket: R2Bucket];

/**
 * @param audience of the access tokens that the host issues
 * @param stores whose contents a request to the host can change
 */
function hostAt(
  name: string,
  origin: string,
  audience: string,
  stores: readonly Store[],
  fetcher?: CallOptions['fetcher'],
) {
  const by = (as: As | undefined): CallOptions => ({ host: origin, fetcher, ...(as === undefined ? {} : { as }) });
  return {
    name,
    origin,
    audience,
    call: (method: string, path: string, options: Omit<CallOptions, 'host'> = {}) =>
      call(method, path, { ...options, host: origin, fetcher }),
    tokenFor: (as: As | undefined, ...scopes: readonly string[]) => tokenOf(by(as), ...scopes),
    putBlob: (repository: string, content: Uint8Array<ArrayBuffer>, as: As = 'alice') =>
      putBlob(repository, content, by(as)),
    putImage: (repository: string, seed: number, tags: readonly string[], as: As = 'alice') =>
      putImage(repository, seed, tags, by(as)),
    putManifest: (repository: string, reference: string, image: Image, as: As = 'alice') =>
      putManifest(repository, reference, image, by(as)),
    publish: (organization: UserName, repository: string) =>
      call('PATCH', `/api/organizations/${organization}/repositories/${repository}`, {
        ...by(organization),
        headers: { 'Content-Type': 'application/json' },
        body: '{"visibility":"public"}',
      }),
    /** Opens an upload, and returns where it continues. */
    async open(repository: string, as: As = 'alice', query = ''): Promise<string> {
      const response = await call('POST', `/v2/${repository}/blobs/uploads/${query}`, by(as));
      if (response.status !== 202) throw new Error(`no upload was opened: ${response.status}`);
      return response.headers.get('Location') ?? '';
    },
    async rowsOf<Row>(query: string): Promise<Row[]> {
      const answers = await Promise.all(stores.map(([database]) => database.prepare(query).all<Row>()));
      return answers.flatMap(({ results }) => results);
    },
    /** Returns a snapshot of all its stores, to show that a request changed nothing. */
    async snapshotWithoutUse(): Promise<string> {
      return (await Promise.all(stores.map(([database, bucket]) => snapshotWithoutUse(database, bucket)))).join('\n');
    },
    async read(path: string, as?: As): Promise<number> {
      return (await call('GET', path, by(as))).status;
    },
  };
}

export type Host = ReturnType<typeof hostAt>;

const CENTRAL: Store = [env.DB_CENTRAL, env.BLOBS_CENTRAL];
const NODE1: Store = [env.DB_NODE1!, env.BLOBS_NODE1!];

const world = await ThreeHosts.openWithoutApplying();

/** Sends a request to a node, which first learns of the users, and of later changes as they are made. */
async function atNode(request: Request): Promise<Response> {
  const known = env.DB_NODE1!.prepare('SELECT id FROM credentials LIMIT 1');
  while ((await known.first()) === null) {
    // Makes the node look new, so that it takes a snapshot: users that a test inserts into central's store are not in
    // its change log.
    await env.DB_NODE1!.prepare('DELETE FROM change_log_positions').run();
    await world.announce();
  }
  return world.fetch(request);
}

const AT_CENTRAL = hostAt('central', HOST, 'central', [CENTRAL]);
const AT_NODE = hostAt('node1', ORIGINS.node1, 'node:node1', [NODE1, CENTRAL], atNode);

/**
 * `npm run test:long` tries every attack at both, because it could find another way through a node. `npm test` tries it
 * at central alone, which takes a third of the time.
 */
export const HOSTS_AND_NODES: readonly Host[] = SAMPLE === 1 ? [AT_CENTRAL, AT_NODE] : [AT_CENTRAL];
