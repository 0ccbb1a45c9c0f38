/** Administrators read the state of a deployment over HTTP. */
import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createApp } from '../../../src/app.ts';
import { MIGRATIONS } from '../../../src/stores/migration-names.ts';
import { addUsers, call } from '../../support/client.ts';
import { api } from '../../support/queues.ts';

beforeEach(addUsers);

afterEach(async () => {
  await env
    .DB_NODE1!.prepare('ALTER TABLE d1_migrations_elsewhere RENAME TO d1_migrations')
    .run()
    .catch(() => undefined);
  for (const name of MIGRATIONS)
    await env.DB_NODE1!.prepare('INSERT INTO d1_migrations (name) VALUES (?1) ON CONFLICT DO NOTHING').bind(name).run();
});

/** Asks with other variables, secrets or bindings. */
const withEnv = (more: object) => async (request: Request) => {
  const context = createExecutionContext();
  const response = await createApp().fetch(request, { ...env, ...more }, context);
  await waitOnExecutionContext(context);
  return response;
};

const READY = { database: 'ok', bucket: 'ok', missing_migrations: [] };

test('shows the registries with their hosts, the stores and the secrets that are set', async () => {
  const { status, body } = await api('GET', 'deployment', { as: 'admin' });
  expect(status).toBe(200);
  expect(body).toEqual({
    registries: [
      { name: 'central', hosts: [':8787'], store: 'central' },
      { name: 'node1', hosts: [':8788'], store: 'node1' },
      { name: 'node2', hosts: [':8789'], store: 'node2' },
    ],
    stores: [
      { store: 'central', ...READY },
      { store: 'node1', ...READY },
      { store: 'node2', ...READY },
    ],
    secrets: ['SIGNING_KEY', 'BOOTSTRAP_SECRET'],
    console: ['console.localhost', ':8790'],
  });
});

test('shows a second signing key, and no bootstrap secret once it is deleted', async () => {
  const fetcher = withEnv({ SIGNING_KEY_SECONDARY: btoa('x'.repeat(32)), BOOTSTRAP_SECRET: undefined });
  const answer = await call('GET', '/api/deployment', { as: 'admin', fetcher });
  expect(await answer.json()).toMatchObject({ secrets: ['SIGNING_KEY', 'SIGNING_KEY_SECONDARY'] });
});

test.each([
  ['a migration was not applied', 'DELETE FROM d1_migrations'],
  ['no migration was applied', 'ALTER TABLE d1_migrations RENAME TO d1_migrations_elsewhere'],
])('names the missing migrations where %s', async (_what, statement) => {
  await env.DB_NODE1!.prepare(statement).run();
  const { body } = await api('GET', 'deployment', { as: 'admin' });
  expect(body).toMatchObject({
    stores: [
      { store: 'central', ...READY },
      { store: 'node1', ...READY, missing_migrations: MIGRATIONS },
      { store: 'node2', ...READY },
    ],
  });
});

test('does not know the migrations of a database that does not answer', async () => {
  const dead = { prepare: () => ({ bind: () => ({ all: () => Promise.reject(new Error('D1_ERROR: away')) }) }) };
  const answer = await call('GET', '/api/deployment', { as: 'admin', fetcher: withEnv({ DB_NODE2: dead }) });
  expect(await answer.json()).toMatchObject({
    stores: [
      { store: 'central', ...READY },
      { store: 'node1', ...READY },
      { store: 'node2', database: 'unavailable', bucket: 'ok', missing_migrations: null },
    ],
  });
});
