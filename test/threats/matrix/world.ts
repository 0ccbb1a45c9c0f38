/** The content of the stores during the matrix, which is restored after every request that may change it. */
import { env } from 'cloudflare:workers';
import { SigningKeys } from '../../../src/auth/signing-keys.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import type { RepositoryName } from '../../../src/oci/reference.ts';
import { formatUploadReference, SESSION_MILLISECONDS } from '../../../src/stores/uploads/upload-reference.ts';
import { BINDINGS, TABLES } from '../../support/bindings.ts';
import { addCredentials, basic, type CallOptions } from '../../support/client.ts';
import { putBlob, putImage } from '../../support/content.ts';
import { bytesOf, type Image, indexOf, objectKeys } from '../../support/fixture.ts';
import { applyAtNode1, naming, openWithPlatform, type PlatformRegistry } from '../../support/platform.ts';
import { keepQueuesStill } from '../../support/still-queues.ts';
import { OWNER, PLATFORM_TOKEN, USERS_OF_MATRIX } from './callers.ts';
import { organizationOf, type Place, REPOSITORIES, SOURCES } from './repositories.ts';

export interface World {
  readonly registry: PlatformRegistry;
  /** Tagged `latest` in every whole repository. */
  readonly image: Image;
  /** In every whole repository; nothing references it. */
  readonly blob: Digest;
  /** One blob in each repository of {@link SOURCES}, and nowhere else. */
  readonly mountable: Readonly<Record<keyof typeof SOURCES, Digest>>;
  /** An empty index to push: it needs no blob. */
  readonly pushed: Image;
  /** Restores the rows and objects. */
  restore(): Promise<void>;
  /**
   * Returns the tables that differ from the saved state, and `objects` if a bucket does, each with the name of the
   * store.
   */
  changes(): Promise<string[]>;
  /**
   * Returns an upload session that the subject could have been given, before its first chunk: nothing of it is stored.
   */
  session(repository: string, subject: string): Promise<string>;
  /** Sends a request to the host, and returns the answer once all work after the response is done. */
  ask(
    method: string,
    path: string,
    authorization: string | undefined,
    body?: { readonly type: string; readonly content: BodyInit },
  ): Promise<Response>;
}

const publish = (name: string) =>
  env.DB_CENTRAL.prepare('INSERT INTO public_repositories (name) VALUES (?1)').bind(name).run();

/** Fills the empty stores. */
export async function createWorld({ host, store }: Place): Promise<World> {
  keepQueuesStill();
  await addCredentials(USERS_OF_MATRIX);
  // The last use is noted at most once an hour: noting it now keeps the requests from writing it.
  await env.DB_CENTRAL.prepare('UPDATE credentials SET last_used_at = ?1').bind(Date.now()).run();
  await env.DB_CENTRAL.prepare("INSERT INTO organizations (name, created_at) VALUES ('vacant', 0)").run();
  for (const { name, visibility } of REPOSITORIES) if (visibility === 'public') await publish(name);
  await publish(SOURCES.public);
  if (host === 'node1') await applyAtNode1();

  const registry = openWithPlatform((token) => (token === PLATFORM_TOKEN.whole ? naming('alice') : undefined));
  const asOwnerOf = (repository: string): CallOptions => {
    const organization = organizationOf(repository);
    const name = organization === 'alice' ? OWNER : organization;
    return registry.by(store, basic({ name, password: `password-of-${name}` }));
  };
  const [database] = BINDINGS[store];
  let image: Image | undefined;
  let blob: Digest | undefined;
  for (const { name, state } of REPOSITORIES) {
    if (state === 'whole') {
      image = await putImage(name, 1, ['latest'], asOwnerOf(name));
      blob = await putBlob(name, bytesOf(5, 50), asOwnerOf(name));
    } else if (state === 'empty') {
      await database.prepare('INSERT INTO repositories (name, created_at, listed) VALUES (?1, 0, 0)').bind(name).run();
    }
  }
  const mountable = {
    own: await putBlob(SOURCES.own, bytesOf(11, 50), asOwnerOf(SOURCES.own)),
    foreign: await putBlob(SOURCES.foreign, bytesOf(12, 50), asOwnerOf(SOURCES.foreign)),
    public: await putBlob(SOURCES.public, bytesOf(13, 50), asOwnerOf(SOURCES.public)),
  };
  if (image === undefined || blob === undefined) throw new Error('no repository is whole');
  // An allowed read records the hour and the platform once. Both are recorded here.
  await database.prepare("UPDATE manifests SET last_pull = ?1, image_platform = ''").bind(Date.now()).run();
  return {
    image,
    blob,
    mountable,
    registry,
    pushed: await indexOf([]),
    session: (repository, subject) => sessionAt(host, repository, subject),
    ask: (method, path, authorization, body) =>
      registry.call(host, method, path, {
        ...(authorization === undefined ? {} : { as: { authorization } }),
        headers: body === undefined ? {} : { 'Content-Type': body.type },
        body: body?.content ?? null,
      }),
    ...savedStates(await Promise.all([...new Set(['central', host] as const)].map(savedState))),
  };
}

const signer = await SigningKeys.import([env.SIGNING_KEY]);

async function sessionAt(store: Place['host'], repository: string, subject: string): Promise<string> {
  const owner = { store, repository: repository as RepositoryName, subject };
  const expiresAt = Date.now() + SESSION_MILLISECONDS;
  return formatUploadReference(signer, owner, { id: crypto.randomUUID(), offset: 0, expiresAt, algorithm: 'sha256' });
}

type SavedState = Pick<World, 'restore' | 'changes'>;

function savedStates(saved: readonly SavedState[]): SavedState {
  return {
    restore: async () => {
      await Promise.all(saved.map(({ restore }) => restore()));
    },
    changes: async () => (await Promise.all(saved.map(({ changes }) => changes()))).flat(),
  };
}

async function savedState(store: keyof typeof BINDINGS): Promise<SavedState> {
  const [database, bucket] = BINDINGS[store];
  const namesOf = async (query: string): Promise<string[]> => {
    const { results } = await database.prepare(query).all<{ name: string }>();
    return results.map(({ name }) => name);
  };
  // Triggers of the other tables write to usage, so it is restored last.
  const tables = await namesOf(`SELECT name FROM sqlite_master WHERE ${TABLES} ORDER BY name = 'usage'`);
  const each = (statement: (table: string) => string[]): D1PreparedStatement[] =>
    tables.flatMap(statement).map((text) => database.prepare(text));
  await database.batch(
    each((table) => [`DROP TABLE IF EXISTS saved_${table}`, `CREATE TABLE saved_${table} AS SELECT * FROM ${table}`]),
  );
  const objects = new Map<string, ArrayBuffer>();
  for (const key of await objectKeys(bucket)) objects.set(key, await (await bucket.get(key))!.arrayBuffer());
  // pragma_table_info leaves out generated columns, which cannot be written.
  const columns = new Map<string, string>();
  for (const table of tables) {
    columns.set(table, (await namesOf(`SELECT name FROM pragma_table_info('${table}')`)).join(', '));
  }
  const restore = each((table) => [
    `DELETE FROM ${table}`,
    `INSERT INTO ${table} (${columns.get(table)}) SELECT ${columns.get(table)} FROM saved_${table}`,
  ]);
  const compare = each((table) => {
    // Refused logins are always counted.
    const where = table === 'audit' ? " WHERE action <> 'refuse login'" : '';
    const [now, saved] = [`SELECT * FROM ${table}${where}`, `SELECT * FROM saved_${table}`];
    return [`SELECT '${table}' AS name WHERE EXISTS (${now} EXCEPT ${saved}) OR EXISTS (${saved} EXCEPT ${now})`];
  });
  return {
    restore: async () => {
      await database.batch(restore);
      const present = new Set(await objectKeys(bucket));
      for (const [key, content] of objects) if (!present.has(key)) await bucket.put(key, content);
      await bucket.delete([...present].filter((key) => !objects.has(key)));
    },
    changes: async () => {
      const found = await database.batch<{ name: string }>(compare);
      const keys = await objectKeys(bucket);
      const moved = keys.length !== objects.size || keys.some((key) => !objects.has(key));
      const changed = [
        ...found.flatMap(({ results }) => results.map(({ name }) => name)),
        ...(moved ? ['objects'] : []),
      ];
      return changed.map((name) => `${store}: ${name}`);
    },
  };
}
