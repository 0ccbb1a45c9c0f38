/** The SQL query for the counts of pulls, and how its answer is read. */
import { beforeEach, describe, expect, test } from 'vitest';
import { HOUR, MINUTE } from '../../src/durations.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';
import { Pulls } from '../../src/registry/pulls.ts';

const NOW = 500_000 * HOUR + 5 * MINUTE;
const SECONDS = 500_000 * 3600;
const HOSTS = { hosts: [{ host: 'index.example.com', namespace: { kind: 'central', store: 'central' } }] } as const;

let asked: { url: string; init: RequestInit }[];
let answer: () => Response;

beforeEach(() => {
  asked = [];
});

function pulls(): Pulls {
  const fetcher = async (url: string, init: RequestInit): Promise<Response> => {
    asked.push({ url, init });
    return answer();
  };
  const analytics = { url: 'https://sql.test', token: 'analytics-token' };
  return new Pulls(analytics, HOSTS, fetcher as unknown as typeof fetch);
}

const rows =
  (...data: object[]) =>
  (): Response =>
    Response.json({ meta: [], data, rows: data.length });
const question = (): string => ((asked.at(-1)?.init.body ?? '') as string).replaceAll(/\s+/g, ' ').trim();

test('asks for the hours of a repository at the hosts of this deployment', async () => {
  answer = rows({ hour: SECONDS - 3600, pulls: '7' }, { hour: SECONDS, pulls: 2 });
  expect(await pulls().byHour('alice/app' as RepositoryName, 2, NOW)).toEqual([
    { at: NOW - 5 * MINUTE - HOUR, pulls: 7 },
    { at: NOW - 5 * MINUTE, pulls: 2 },
  ]);
  expect(asked[0]).toMatchObject({
    url: 'https://sql.test',
    init: { method: 'POST', redirect: 'manual', headers: { Authorization: 'Bearer analytics-token' } },
  });
  expect(question()).toBe(
    'SELECT intDiv(toUInt32(timestamp), 3600) * 3600 AS hour, SUM(_sample_interval) AS pulls FROM berth_requests ' +
      `WHERE timestamp >= toDateTime(${SECONDS - 3600}) AND index1 IN ('index.example.com') ` +
      "AND blob1 = 'manifests' AND blob2 = 'GET' AND blob3 = '200' AND blob6 = 'alice/app' " +
      'GROUP BY hour ORDER BY hour FORMAT JSON',
  );
});

test('a name cannot close its string literal in the query, whether or not backslashes are escapes', async () => {
  answer = rows();
  await pulls().byHour(String.raw`a\' OR 1 = 1 --` as RepositoryName, 1, NOW);
  expect(question()).toContain(String.raw`AND blob6 = 'a\\'' OR 1 = 1 --' GROUP BY`);
});

test('an answer is kept for a minute, for each repository', async () => {
  answer = rows({ hour: SECONDS, pulls: 1 });
  const kept = pulls();
  for (const repository of [undefined, 'alice/app', undefined, 'alice/app'])
    await kept.byHour(repository as RepositoryName, 1, NOW);
  await kept.byHour(undefined, 1, NOW + MINUTE - 1);
  expect(asked).toHaveLength(2);
  await kept.byHour(undefined, 1, NOW + MINUTE);
  expect(asked).toHaveLength(3);
});

test('hours that were not asked for are left out', async () => {
  answer = rows({ hour: SECONDS - 3600, pulls: 1 }, { hour: SECONDS + 3600, pulls: 1 });
  expect(await pulls().byHour(undefined, 1, NOW)).toEqual([]);
});

describe('an answer that is not the figures', () => {
  test.each([
    ['an error', () => new Response('no such table', { status: 422 })],
    ['a redirect', () => new Response(null, { status: 302, headers: { Location: 'https://elsewhere.test' } })],
    ['no JSON', () => new Response('<html>')],
    ['another document', () => Response.json({ errors: [] })],
    ['a negative number', rows({ hour: SECONDS, pulls: -1 })],
    ['a fraction', rows({ hour: SECONDS, pulls: 0.5 })],
    ['a text', rows({ hour: SECONDS, pulls: '1e3' })],
    ['more than fits', () => new Response(`{"data":[${' '.repeat(256 * 1024)}]}`)],
    [
      'a failure',
      () => {
        throw new TypeError('analytics-token');
      },
    ],
  ])('is 503 for a minute: %s', async (_, bad) => {
    answer = bad;
    const kept = pulls();
    await expect(kept.byHour(undefined, 1, NOW)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(kept.byHour(undefined, 1, NOW)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(asked).toHaveLength(1);
    answer = rows({ hour: SECONDS, pulls: 3 });
    expect(await kept.byHour(undefined, 1, NOW + MINUTE)).toHaveLength(1);
  });
});
