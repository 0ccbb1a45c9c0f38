/** What exists while the matrix asks, and a way back to it after every request that was allowed to change it. */
import { env } from 'cloudflare:workers';
import { SigningKeys } from '../../../src/auth/signing-keys.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import type { RepositoryName } from '../../../src/oci/reference.ts';
import { formatUploadReference } from '../../../src/stores/upload-reference.ts';
import { vi } from 'vitest';
import { TABLES } from '../../support/bindings.ts';
import { addCredentials, basic, call } from '../../support/client.ts';
import { putBlob, putImage } from '../../support/content.ts';
import { bytesOf, type Image, indexOf, objectKeys, rowsOf } from '../../support/fixture.ts';
import { keepQueuesStill } from '../../support/still-queues.ts';
import { OWNER, USERS_OF_MATRIX } from './callers.ts';
import { organizationOf, REPOSITORIES, SOURCES } from './repositories.ts';

export interface World {
  /** Tagged `latest` in every whole repository. */
  readonly image: Image;
  /** In every whole repository, referenced by nothing. */
  readonly blob: Digest;
  /** Each in one repository alone, by the names of {@link SOURCES}. */
  readonly mountable: Readonly<Record<keyof typeof SOURCES, Digest>>;
  /** To push: an index of nothing, which needs no blob. */
  readonly pushed: Image;
  /** Puts rows and objects back as they were. */
  restore(): Promise<void>;
  /** Tables that differ from what was, and `objects` if the bucket does. */
  changes(): Promise<string[]>;
  session(repository: string, subject: string): Promise<string>;
}

const asOwnerOf = (repository: string) => {
  const organization = organizationOf(repository);
  const name = organization === 'alice' ? OWNER : organization;
  return { as: { authorization: basic({ name, password: `password-of-${name}` }) } };
};

const publish = (name: string) => env.DB_CENTRAL.prepare('INSERT INTO public_repositories (name) VALUES (?1)').bind(name).run();

/** Fills the empty store. */
export async function createWorld(): Promise<World> {
  // Counting costs more than all the rest of a refused request, and is tested elsewhere.
  for (const limiter of [env.CREDENTIAL_CHECKS, env.ADDRESS_CHECKS]) {
    vi.spyOn(limiter, 'limit').mockResolvedValue({ success: true });
  }
  keepQueuesStill();
  await addCredentials(USERS_OF_MATRIX);
  await env.DB_CENTRAL.prepare("INSERT INTO organizations (name, created_at) VALUES ('vacant', 0)").run();
  let image: Image | undefined;
  let blob: Digest | undefined;
  for (const { name, visibility, state } of REPOSITORIES) {
    if (state === 'whole') {
      image = await putImage(name, 1, ['latest'], asOwnerOf(name));
      blob = await putBlob(name, bytesOf(5, 50), asOwnerOf(name));
    } else if (state === 'empty') {
      await env.DB_CENTRAL.prepare('INSERT INTO repositories (name, created_at, listed) VALUES (?1, 0, 0)').bind(name).run();
    }
    if (visibility === 'public') await publish(name);
  }
  const mountable = {
    own: await putBlob(SOURCES.own, bytesOf(11, 50), asOwnerOf(SOURCES.own)),
    foreign: await putBlob(SOURCES.foreign, bytesOf(12, 50), asOwnerOf(SOURCES.foreign)),
    public: await putBlob(SOURCES.public, bytesOf(13, 50), asOwnerOf(SOURCES.public)),
  };
  await publish(SOURCES.public);
  if (image === undefined || blob === undefined) throw new Error('no repository is whole');
  // Notes of use are taken at most once an hour: taken now, nothing is left to be noted after a response.
  await env.DB_CENTRAL.batch([
    env.DB_CENTRAL.prepare('UPDATE credentials SET last_used_at = ?1').bind(Date.now()),
    env.DB_CENTRAL.prepare('UPDATE manifests SET last_pull = ?1').bind(Date.now()),
  ]);
  return { image, blob, mountable, pushed: await indexOf([]), session, ...(await savedState()) };
}

const signer = await SigningKeys.import([env.SIGNING_KEY]);

/** A session that the subject could have been given, without a chunk yet: nothing of it is stored. */
async function session(repository: string, subject: string): Promise<string> {
  const owner = { store: 'central', repository: repository as RepositoryName, subject };
  const expiresAt = Date.now() + 3_600_000;
  return formatUploadReference(signer, owner, { id: crypto.randomUUID(), offset: 0, expiresAt, algorithm: 'sha256' });
}

async function savedState(): Promise<Pick<World, 'restore' | 'changes'>> {
  const tables = await rowsOf<{ name: string }>(`SELECT name FROM sqlite_master WHERE ${TABLES}`);
  const each = (statement: (table: string) => string[]) =>
    tables.flatMap(({ name }) => statement(name)).map((text) => env.DB_CENTRAL.prepare(text));
  await env.DB_CENTRAL.batch(
    each((table) => [`DROP TABLE IF EXISTS saved_${table}`, `CREATE TABLE saved_${table} AS SELECT * FROM ${table}`]),
  );
  const objects = new Map<string, ArrayBuffer>();
  for (const key of await objectKeys()) objects.set(key, await (await env.BLOBS_CENTRAL.get(key))!.arrayBuffer());
  // Without generated columns, which are nobody's to write.
  const columns = new Map<string, string>();
  for (const { name } of tables) {
    const written = await rowsOf<{ name: string }>(`SELECT name FROM pragma_table_info('${name}')`);
    columns.set(name, written.map((column) => column.name).join(', '));
  }
  const restore = each((table) => [
    `DELETE FROM ${table}`,
    `INSERT INTO ${table} (${columns.get(table)}) SELECT ${columns.get(table)} FROM saved_${table}`,
  ]);
  const compare = each((table) => {
    const [now, saved] = [`SELECT * FROM ${table}`, `SELECT * FROM saved_${table}`];
    return [`SELECT '${table}' AS name WHERE EXISTS (${now} EXCEPT ${saved}) OR EXISTS (${saved} EXCEPT ${now})`];
  });
  return {
    restore: async () => {
      await env.DB_CENTRAL.batch(restore);
      const present = new Set(await objectKeys());
      for (const [key, content] of objects) if (!present.has(key)) await env.BLOBS_CENTRAL.put(key, content);
      await env.BLOBS_CENTRAL.delete([...present].filter((key) => !objects.has(key)));
    },
    changes: async () => {
      const found = await env.DB_CENTRAL.batch<{ name: string }>(compare);
      const keys = await objectKeys();
      const moved = keys.length !== objects.size || keys.some((key) => !objects.has(key));
      return [...found.flatMap(({ results }) => results.map(({ name }) => name)), ...(moved ? ['objects'] : [])];
    },
  };
}

export async function ask(
  method: string,
  path: string,
  authorization: string | undefined,
  body?: { readonly type: string; readonly content: BodyInit },
): Promise<Response> {
  return call(method, path, {
    ...(authorization === undefined ? {} : { as: { authorization } }),
    headers: body === undefined ? {} : { 'Content-Type': body.type },
    body: body?.content ?? null,
  });
}
