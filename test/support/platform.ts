/** Berth inside workerd, with a platform whose answers the test gives. */
import { env } from 'cloudflare:workers';
import { createApp } from '../../src/app.ts';
import { vi } from 'vitest';
import { call, type CallOptions } from './client.ts';
import { secrets } from './console.ts';
import { ORIGINS } from './three-hosts.ts';

export type HostName = 'central' | 'node1';

export interface PlatformRegistry {
  /** The tokens that the platform was asked about, in order. */
  readonly asked: string[];
  call(
    host: HostName,
    method: string,
    path: string,
    options?: Omit<CallOptions, 'host' | 'fetcher'>,
  ): Promise<Response>;
  /** Returns the options for functions that make requests. */
  by(host: HostName, authorization: string): CallOptions;
  /** Like {@link by}, for requests without a login. */
  anonymously(host: HostName): CallOptions;
}

/** A token of the platform, in the forms in which clients present it. */
export function platformToken(user: string, secret: string) {
  const whole = btoa(`${user}:${secret}`);
  secrets.add('a token of the platform', whole);
  secrets.add('the secret of a token of the platform', secret);
  const basic = (name: string, password: string): string => `Basic ${btoa(`${name}:${password}`)}`;
  return {
    whole,
    pair: basic(user, secret),
    bearer: `Bearer ${whole}`,
    /** The form in which `unikraft` presents it to nodes. */
    wholeAs: (name: string) => basic(name, whole),
    secretAs: (name: string) => basic(name, secret),
  };
}

export function naming(organization: unknown): Response {
  return Response.json({ status: 'success', data: { organization_name: organization, registry: 'index.example.com' } });
}

/** @param answer the platform's answer; 401 if it returns undefined */
export function openWithPlatform(
  answer: (token: string) => Promise<Response> | Response | undefined,
  bindings: object = {},
): PlatformRegistry {
  const asked: string[] = [];
  vi.spyOn(globalThis, 'fetch').mockImplementation(async (url, init) => {
    const given = new Headers(init?.headers).get('Authorization') ?? '';
    if (url !== 'https://platform.test/v1/auth') throw new Error('an unknown URL was called');
    asked.push(given.replace('Bearer ', ''));
    return (await answer(asked.at(-1) ?? '')) ?? new Response(null, { status: 401 });
  });
  const app = createApp();
  const unlimited = { limit: async () => ({ success: true }) };
  const vars = {
    ...env,
    PLATFORM_AUTH_URL: 'https://platform.test',
    CREDENTIAL_CHECKS: unlimited,
    ADDRESS_CHECKS: unlimited,
    ...bindings,
  };
  const fetcher = async (request: Request): Promise<Response> => {
    const deferred: Promise<unknown>[] = [];
    const context = {
      waitUntil: (work: Promise<unknown>) => void deferred.push(work.catch(() => undefined)),
      passThroughOnException: () => undefined,
      props: {},
    };
    const response = await app.fetch(request, vars, context);
    await Promise.all(deferred);
    return response;
  };
  return {
    asked,
    call: (host, method, path, options = {}) => call(method, path, { ...options, host: ORIGINS[host], fetcher }),
    by: (host, authorization) => ({ host: ORIGINS[host], fetcher, as: { authorization } }),
    anonymously: (host) => ({ host: ORIGINS[host], fetcher }),
  };
}

/** Copies central's control data to node1, so that node1 can decide who may do what. */
export async function applyAtNode1(): Promise<void> {
  const node = env.DB_NODE1!;
  const position = node
    .prepare("INSERT OR REPLACE INTO change_log_positions (store, position, applied_at) VALUES ('node1', 0, ?1)")
    .bind(Date.now());
  const tables = ['organizations', 'credentials', 'public_repositories', 'mirrors'];
  const contents = await env.DB_CENTRAL.batch<Record<string, unknown>>(
    tables.map((table) => env.DB_CENTRAL.prepare(`SELECT * FROM ${table}`)),
  );
  const rows = contents.flatMap(({ results }, i) =>
    results.map((row) => {
      const columns = Object.keys(row);
      const places = columns.map((_, at) => `?${at + 1}`).join(', ');
      return node
        .prepare(`INSERT OR REPLACE INTO ${tables[i]} (${columns.join(', ')}) VALUES (${places})`)
        .bind(...Object.values(row));
    }),
  );
  await node.batch([position, ...rows]);
}
