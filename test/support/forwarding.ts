/** The organization `alice`, whose pushes go on to an upstream. */
import { env } from 'cloudflare:workers';
import { runInDurableObject } from 'cloudflare:test';
import { expect } from 'vitest';
import type { OrganizationMirror } from '../../src/mirror/durable-object.ts';
import { mirrorObjectOf } from '../../src/mirror/mirror-object.ts';
import type { OrganizationName } from '../../src/oci/reference.ts';
import { call, callApi } from './client.ts';
import { config, eventually } from './queues.ts';

export const MANIFEST = '/v2/alice/app/manifests/v1';
export const FORWARDED = { pushes: 'forwarded' } as const;

interface Status {
  readonly pushes: {
    readonly pending: number;
    readonly announced: number;
    readonly settled: number;
    readonly parked: number;
  };
  readonly parked: readonly { readonly reason: string; readonly tag: string | null }[];
}

export async function status(): Promise<Status> {
  const answer = await callApi('GET', 'organizations/alice/mirror/status', 'alice');
  expect(answer.status).toBe(200);
  return answer.json();
}

/** Waits until the upstream shows this many pushes. */
export const settled = (count: number): Promise<Status> => eventually(status, ({ pushes }) => pushes.settled === count);
/** Tries parked pushes again. */
export const retry = async (): Promise<unknown> =>
  (await callApi('POST', 'organizations/alice/mirror/retry', 'alice')).json();

/** Returns the digest that a pull of the tag gets, or the status of its failure. */
export async function pulled(path = MANIFEST, host?: string): Promise<string> {
  const answer = await call('GET', path, { as: 'alice', ...(host === undefined ? {} : { host }) });
  return answer.headers.get('Docker-Content-Digest') ?? String(answer.status);
}

const mirror = (): ReturnType<typeof mirrorObjectOf> =>
  mirrorObjectOf(env, 'alice' as OrganizationName, config.central);

/** Runs the due work of the mirror's object now, as its alarm would. */
export function runAlarm(): Promise<void> {
  return runInDurableObject(mirror(), (instance) => instance.alarm());
}

/** Notes a push by its digest, as a request does that ends before it says whether it was committed. @returns its id */
export function noteDigest(digest: string, notedAt: number, dueAt: number): Promise<number> {
  return runInDurableObject(mirror(), (_, { storage }) => {
    const { id } = storage.sql
      .exec<{ id: number }>(
        `INSERT INTO outgoing (repository, tag, digest, media_type, size, stage, noted_at, due_at)
          VALUES ('alice/app', '', ?, '', 1, 'noted', ?, ?) RETURNING id`,
        digest,
        notedAt,
        dueAt,
      )
      .one();
    return id;
  });
}

/** Confirms a push. @returns the number of pushes that wait right after */
export function confirm(id: number, version: number): Promise<number> {
  return runInDurableObject(mirror(), async (instance: OrganizationMirror) => {
    const confirmed = instance.confirmPush([id], version);
    const { pending } = instance.status().pushes;
    await confirmed;
    return pending;
  });
}

/** Returns the version of a manifest in central's store. */
export async function versionOfManifest(digest: string): Promise<number> {
  const query = 'SELECT created_version FROM manifests WHERE digest = ?';
  return (await env.DB_CENTRAL.prepare(query).bind(digest).first<number>('created_version')) ?? 0;
}

/** Changes the rows of the mirror's object. */
export async function changeRows(statement: string, ...values: readonly SqlStorageValue[]): Promise<void> {
  await runInDurableObject(mirror(), (_, { storage }) => void storage.sql.exec(statement, ...values));
}
