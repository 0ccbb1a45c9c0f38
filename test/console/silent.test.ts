/** Pages of the console while parts of the registry are silent. The management API is the test's own. */
import { Hono } from 'hono';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { ConsoleEnv } from '../../src/console/context.ts';
import { imagePages } from '../../src/console/pages/image.tsx';
import { organizationPages } from '../../src/console/pages/organization.tsx';
import { overviewPages } from '../../src/console/pages/overview.tsx';
import { replicationPages } from '../../src/console/pages/replication.tsx';
import { repositoryPages } from '../../src/console/pages/repository.tsx';
import { RegistryClient } from '../../src/console/registry-client.ts';
import { IDLE_QUEUE } from './support.ts';

const QUEUES = '/api/replication/queues';
const SERIES = '/api/replication/series';
const REPOSITORY = '/api/organizations/alice/repositories/app';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

type Answers = Readonly<Record<string, () => Promise<Response>>>;

/** Opens a page as an administrator, and lets time pass until it is there. */
async function open(pages: () => Hono<ConsoleEnv>, path: string, answers: Answers): Promise<string> {
  const send = (request: Request): Promise<Response> =>
    answers[new URL(request.url).pathname]?.() ?? Promise.resolve(Response.json({}, { status: 503 }));
  const session = { user: 'admin', secret: 'admin-secret', id: '' };
  const registry = new RegistryClient(send, 'http://registry.localhost', session, undefined);
  const caller = {
    name: 'admin',
    kind: 'administrator',
    organization: null,
    rights: [],
    repositories: [],
    expires_at: null,
    registries: [],
  } as const;
  const app = new Hono<ConsoleEnv>();
  app.use(async (c, next) => {
    c.set('reader', { session, caller, registry, formToken: '' } as never);
    await next();
  });
  app.route('/', pages());
  const page = Promise.resolve(app.request(path)).then((answer) => answer.text());
  await vi.advanceTimersByTimeAsync(3000);
  return page;
}

const json =
  (body: object, status = 200) =>
  async (): Promise<Response> =>
    Response.json(body, { status });
const after = (milliseconds: number, body: object) => (): Promise<Response> =>
  new Promise((answer) => setTimeout(() => answer(Response.json(body)), milliseconds));
const silent = (): Promise<Response> => new Promise(() => undefined);

const QUEUE = {
  ...IDLE_QUEUE,
  store: 'node1',
  change_log: [
    { store: 'node1', position: 5, behind: 3, seconds_since: 1 },
    { store: 'node2', position: 1, behind: 7, seconds_since: 1 },
  ],
};

test.each([
  ['/', overviewPages],
  ['/replication', replicationPages],
])('%s draws the figures of the queues that answer, once the API has given up on one', async (path, pages) => {
  const histogram = { buckets: [1], count: 1, sum: 1 };
  const hour = {
    at: new Date(Math.floor(Date.now() / 3.6e6) * 3.6e6).toISOString(),
    manifests: 1,
    announced: 1,
    announce_seconds: histogram,
    settled: 1,
    settle_seconds: histogram,
    deletions: 0,
    copied_up_bytes: 0,
    copied_down_bytes: 0,
    retries: 0,
    held_bytes: null,
  };
  const page = await open(pages, path, {
    [QUEUES]: json({ queues: [QUEUE] }),
    // The API waits a second for each queue.
    [SERIES]: after(1010, { bucket_seconds: [1], hours: [hour], complete: false }),
  });
  expect(page).toContain('A queue does not answer');
  expect(page).toContain('aria-label="Lag by the hour');
});

test.each([
  ['is there although central does not list them', silent, 'Central does not answer.'],
  ['says so if there are none', json({ pushes: [] }), 'Nothing has been pushed yet.'],
])('the overview of the latest pushes %s', async (_, pushes, text) => {
  const page = await open(overviewPages, '/', { [QUEUES]: json({ queues: [QUEUE] }), '/api/pushes': pushes });
  expect(page).toContain(text);
  expect(page).toContain('aria-label="Map: central');
});

test.each([
  ['/', overviewPages, { [QUEUES]: json({ queues: [QUEUE] }), '/api/pulls/hours': silent }],
  [
    '/images/alice/app',
    repositoryPages,
    { [`${REPOSITORY}/tags`]: json({ tags: [], stores: [], last: null }), [`${REPOSITORY}/pulls/hours`]: silent },
  ],
] as const)('%s is there without pulls while Analytics Engine is silent', async (path, pages, answers) => {
  expect(await open(pages, path, answers)).toContain('Analytics Engine does not answer, so pulls are missing');
});

test('a repository shows its pulls of a day and of 30 days', async () => {
  const now = Date.now();
  const at = (hours: number): string => new Date(now - hours * 3.6e6).toISOString();
  const page = await open(repositoryPages, '/images/alice/app', {
    [`${REPOSITORY}/tags`]: json({ tags: [], stores: [], last: null }),
    [`${REPOSITORY}/pulls/hours`]: json({
      counted: true,
      hours: [700, 30, 3, 0].map((ago) => ({ at: at(ago), pulls: 1000 + ago })),
    }),
  });
  expect(page).toContain('<dt>In the last day</dt><dd>2,003</dd>');
  expect(page).toContain('<dt>In the last 30 days</dt><dd>4,733</dd>');
});

test('a node is behind by what it has yet to apply itself', async () => {
  const page = await open(replicationPages, '/replication', { [QUEUES]: json({ queues: [QUEUE] }) });
  expect(page).toContain('<td data-column="Behind">3</td>');
});

test('a repository says why it shows no tags while central does not answer', async () => {
  const page = await open(repositoryPages, '/images/alice/app', { [`${REPOSITORY}/tags`]: json({}, 503) });
  expect(page).toContain('Central does not answer');
  expect(page).toContain('id="tags"');
});

test('a repository shows its tags without its visibility while central does not say it', async () => {
  const page = await open(repositoryPages, '/images/alice/app', {
    [REPOSITORY]: silent,
    [`${REPOSITORY}/tags`]: json({ tags: [], stores: [], last: null }),
  });
  expect(page).toContain('This repository has no tags');
  expect(page).not.toContain('/-/visibility');
});

describe('an image', () => {
  const DIGEST = `sha256:${'a'.repeat(64)}`;
  const CONFIG = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: DIGEST, size: 2 };
  const MANIFEST = { config: CONFIG, layers: [{ mediaType: 'text/plain', digest: DIGEST, size: 2 }] };
  const about = `${REPOSITORY}/images`;
  const shared = `${about}/${encodeURIComponent(DIGEST)}/shared`;
  const document = (body: object) => async (): Promise<Response> => {
    const text = JSON.stringify(body);
    return new Response(text, {
      headers: { 'Content-Length': String(text.length), 'Docker-Content-Digest': DIGEST },
    });
  };
  const answers = {
    [`${about}/latest`]: json({ state: 'settled', digest: DIGEST, origin: 'central', locations: [] }),
    [`${about}/latest/pins`]: json({ pins: [] }),
    [shared]: json({ shared: [] }),
    '/v2/alice/app/manifests/latest': document(MANIFEST),
    [`/v2/alice/app/referrers/${DIGEST}`]: json({ manifests: [] }),
    [`/v2/alice/app/blobs/${DIGEST}`]: document({ os: 'linux' }),
  };
  const MISSING = 'so the config or the images that share layers are missing';

  test.each([
    ['blob of its config', `/v2/alice/app/blobs/${DIGEST}`],
    ['list of images with its layers', shared],
  ])('is shown while the %s is silent, and says so', async (_, path) => {
    const page = await open(imagePages, '/images/alice/app:latest', { ...answers, [path]: silent });
    expect(page).toContain(MISSING);
    expect(page).toContain('Layers</h2>');
  });

  test('that has everything says nothing of it', async () => {
    const page = await open(imagePages, '/images/alice/app:latest', answers);
    expect(page).not.toContain(MISSING);
    expect(page).toContain('linux');
  });
});

describe('an organization', () => {
  const path = '/api/organizations/alice';
  const usage = {
    used: 5,
    in_flight: 0,
    repositories: 1,
    tags: 1,
    manifests: 1,
    blobs: 1,
    quota: null,
    limits: { tags: 9, manifests: 9, blobs: 9 },
    complete: false,
  };

  test('is shown without the values that central does not give', async () => {
    const page = await open(organizationPages, '/organizations/alice', {
      [`${path}/usage`]: silent,
      [`${path}/usage/days`]: silent,
      [`${path}/usage/repositories`]: silent,
      [`${path}/credentials`]: silent,
      [`${path}/mirror`]: silent,
    });
    expect(page.split('does not answer').length - 1).toBe(5);
    expect(page).not.toContain('/quota');
  });

  test('shows its use without that of a node that the API has given up on', async () => {
    const page = await open(organizationPages, '/organizations/alice', {
      [`${path}/usage`]: after(1010, usage),
      [`${path}/usage/days`]: json({ days: [] }),
      [`${path}/usage/repositories`]: json({
        measured_at: null,
        repositories: [],
        others: { repositories: 0, bytes: 0 },
      }),
      [`${path}/credentials`]: json({ credentials: [] }),
    });
    expect(page).toContain('store does not answer, so what only it holds is missing');
    expect(page).toContain('5 B');
  });
});
