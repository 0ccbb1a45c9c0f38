/** Faults of the console's host that `npm run doctor` finds. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Line } from '../../src/local/doctor/line.ts';
import { diagnose, edgesForFile, seen, todo } from '../support/local/doctor.ts';
import { ADMINISTRATOR } from '../support/local/doctor-credentials.ts';
import { changedJson, Edge, type Fault, withHeaders } from '../support/local/edge.ts';
import { serverForFile } from '../support/local/server-for-file.ts';

const server = serverForFile();
const edges = edgesForFile(server);
let edge: Edge;

beforeAll(async () => {
  edge = await Edge.start(server.current.port + 3, undefined, 'console.localhost');
});
afterEach(() => {
  edge.fault = {};
});
afterAll(() => edge?.close());

const portOf = (host: string): string => `:${host.split(':')[1]}`;

/** Examines central, as a deployment whose console is behind the edge. */
function examined(): Promise<Line[]> {
  const change = changedJson('/api/deployment', (deployment: object) => ({
    ...deployment,
    registries: [{ name: 'central', hosts: [portOf(edges.central.host)], store: 'central' }],
    console: [portOf(edge.host)],
  }));
  edges.central.fault = { ...edges.central.fault, change };
  return diagnose([edges.central.url], ADMINISTRATOR);
}

const ofConsole = (lines: readonly Line[]): readonly Line[] => lines.filter(({ check }) => check === 'console');

/** Changes a header of the answers to requests of a method. */
const changing =
  (method: string, change: (headers: Record<string, unknown>) => object): NonNullable<Fault['change']> =>
  (answer, asked) =>
    asked.method === method && asked.path === '/sign-in'
      ? withHeaders(answer, change({ ...answer.headers }) as never)
      : answer;

const cookie = (change: (text: string) => string): Fault => ({
  change: changing('POST', (headers) => ({ 'set-cookie': change(String(headers['set-cookie'])) })),
});

test('a good console has no failure', async () => {
  const lines = ofConsole(await examined());
  expect(seen(lines, 'failure')).toEqual([]);
  expect(seen(lines, 'ok').map((line) => line.replaceAll(/:\d+/g, ''))).toEqual([
    'console: localhost shows the page to sign in, with the headers that protect readers',
    'console: signing in at localhost sets a cookie that neither scripts nor other hosts get',
  ]);
});

type Case = readonly [what: string, fault: Fault, expected: RegExp, advice: RegExp];

const CASES: readonly Case[] = [
  [
    'an error',
    { refuse: () => ({ status: 522 }) },
    /answers \/sign-in with 522, and not with the page/,
    /custom domain/,
  ],
  [
    'a challenge',
    { change: (answer) => withHeaders(answer, { 'cf-mitigated': 'challenge' }) },
    /challenge page/,
    /Bot Fight Mode/,
  ],
  [
    'another policy',
    { change: changing('GET', () => ({ 'content-security-policy': "script-src 'unsafe-inline'" })) },
    /Content-Security-Policy is "script-src 'unsafe-inline'", not/,
    /transform rule/,
  ],
  [
    'a page that others may embed',
    { change: changing('GET', () => ({ 'x-frame-options': undefined })) },
    /X-Frame-Options is missing/,
    /transform rule/,
  ],
  ['no cookie', { change: changing('POST', () => ({ 'set-cookie': undefined })) }, /without the cookie/, /Set-Cookie/],
  ['a cookie for scripts', cookie((text) => text.replace('; HttpOnly', '')), /lacks HttpOnly$/, /Set-Cookie/],
  ['a cookie for other sites', cookie((text) => text.replace('Strict', 'Lax')), /lacks SameSite=Strict$/, /Set-Cookie/],
  ['a cookie for other hosts', cookie((text) => `${text}; Domain=localhost`), /has a Domain/, /Set-Cookie/],
  [
    'a registry',
    {
      change: (answer, { path }) =>
        path === '/v2/' ? withHeaders({ ...answer, status: 401 }, { 'www-authenticate': 'Bearer' }) : answer,
    },
    /answers \/v2\/ as a registry/,
    /host that no registry has/,
  ],
];

test.each(CASES)('%s at its host is a failure', async (_, fault, expected, advice) => {
  edge.fault = fault;
  const lines = ofConsole(await examined());
  expect(seen(lines, 'failure')).toEqual([expect.stringMatching(expected)]);
  expect(todo(lines)).toMatch(advice);
});

test("the console's pages at a registry's host are a failure", async () => {
  edges.central.fault = { refuse: ({ path }) => (path === '/sign-in' ? { status: 200 } : undefined) };
  const lines = ofConsole(await examined());
  expect(seen(lines, 'failure')).toEqual([expect.stringMatching(/is a registry, and answers \/sign-in .* with 200/)]);
  expect(todo(lines)).toMatch(/host that no registry has/);
});
