/**
 * Invariant 6 over the whole OCI API: every caller × every route × every repository, none left out. What is expected
 * comes from the rule in `rule.ts` alone.
 */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { hideConsole } from '../../support/console.ts';
import { type Caller, callersOf, OWNER } from './callers.ts';
import { AFAR, type Place, REPOSITORIES, repositoriesOf, type Target } from './repositories.ts';
import { type Route, ROUTES } from './routes.ts';
import { type Expected, expectedCatalog, expectedOfV2 } from './rule.ts';
import { createWorld, type World } from './world.ts';

let place: Place;
let world: World;

interface Case {
  readonly where: string;
  readonly route: Route;
  readonly target: Target;
  readonly expected: Expected;
}

function casesOf(caller: Caller, target: Target): Case[] {
  return ROUTES.map((route) => ({
    where: `${route.name} of ${target.name} as ${caller.name}`,
    route,
    target,
    expected: expectedOfV2(place, caller, route, target),
  }));
}

async function run(
  caller: Caller,
  authorization: string | undefined,
  { where, route, target, expected }: Case,
): Promise<string> {
  // Of whoever is asked for nothing else, the owner's: knowing it must not help.
  const subject = caller.subject ?? `id-of-${OWNER}`;
  const session =
    route.inSession === true
      ? await world.session(target.state === 'whole' ? target.name : 'alice/elsewhere', subject)
      : '';
  const path = route.path(world, session);
  const body = route.body?.(world);
  const response = await world.ask(
    route.method,
    path.startsWith('/') ? path : `/v2/${target.name}/${path}`,
    authorization,
    body,
  );
  const text = new TextDecoder().decode(await response.arrayBuffer());
  const [status, code] = expected.answer;
  const challenge = response.headers.get('WWW-Authenticate');
  const answer = {
    where,
    status: response.status,
    code: code === undefined || route.method === 'HEAD' ? code : codeIn(text),
    challenge:
      challenge === null || expected.challenge?.every((part) => challenge.includes(part))
        ? expected.challenge
        : challenge,
    challenged: challenge !== null,
  };
  expect(answer).toEqual({
    where,
    status,
    code,
    challenge: expected.challenge,
    challenged: expected.challenge !== undefined,
  });
  if (route.needs === 'catalog' && status === 200) {
    const { repositories } = JSON.parse(text) as { repositories: string[] };
    expect([where, repositories]).toEqual([where, expectedCatalog(caller, REPOSITORIES)]);
  }
  return shapeOf(response, text, session, target);
}

function codeIn(text: string): string {
  return (JSON.parse(text) as { errors: { code: string }[] }).errors.map(({ code }) => code).join();
}

/** An answer without what differs by nature: ids, times, and the name and session that the caller itself gave. */
function shapeOf(response: Response, text: string, session: string, { name }: Target): string {
  const id = response.headers.get('X-Request-Id') ?? '';
  const headers = [...response.headers].filter(([header]) => header !== 'x-request-id');
  return JSON.stringify([response.status, headers, text])
    .replaceAll(id, '')
    .replaceAll(session === '' ? '-' : session, '')
    .replaceAll(name, '');
}

/** Reads, then deletes, then what creates: no answer depends on those before it, but for what {@link isFelt} tells. */
function inOrder(cases: readonly Case[]): Case[] {
  const rank = ({ route: { method } }: Case) =>
    method === 'GET' || method === 'HEAD' ? 0 : method === 'DELETE' ? 1 : 2;
  return cases.toSorted((a, b) => rank(a) - rank(b));
}

/** Whether other answers may depend on it: a blob was mounted, or a node has kept a manifest that it read from afar. */
function isFelt({ route, target, expected }: Case): boolean {
  if (route.mounts !== undefined) return expected.answer[0] === 201;
  return place === AFAR && target.state === 'whole' && route.isKept === true;
}

async function checkCaller(caller: Caller, targets: readonly Target[]): Promise<number> {
  const authorization = await caller.authorization(world.registry);
  const refusals = new Map<string, Map<string, string>>();
  let asked = 0;
  for (const target of targets) {
    const cases = casesOf(caller, target);
    // They change nothing: so they may overlap.
    await Promise.all(
      cases
        .filter(({ expected }) => !expected.allowed)
        .map(async (refused) => {
          const shape = await run(caller, authorization, refused);
          const { route, expected } = refused;
          const alike = `${route.name}, ${target.visibility}, ${target.name.length} characters, ${expected.answer[0]}`;
          refusals.set(alike, (refusals.get(alike) ?? new Map<string, string>()).set(target.name, shape));
          asked += 1;
        }),
    );
    expect(await world.changes(), `what refused requests changed: ${target.name}`).toEqual([]);
    const allowed = inOrder(cases.filter(({ expected }) => expected.allowed));
    for (const each of allowed) {
      await run(caller, authorization, each);
      asked += 1;
      if (each !== allowed.at(-1) && isFelt(each)) await world.restore();
    }
    if (allowed.length > 0) await world.restore();
  }
  // What exists, what is empty and what is not there at all: whoever may not know is told the same.
  for (const [route, shapes] of refusals) expect([route, ...new Set(shapes.values())]).toHaveLength(2);
  return asked;
}

/** Declares the tests of every caller and route on the repositories of the given visibilities. */
export function describeMatrix(where: Place, visibilities: readonly Target['visibility'][]): void {
  const callers = callersOf(where.host);
  const targets = repositoriesOf(where).filter(({ visibility }) => visibilities.includes(visibility));
  const combinations = callers.length * ROUTES.length * targets.length;
  let asked = 0;
  beforeAll(async () => {
    hideConsole();
    place = where;
    world = await createWorld(place);
  });
  // The store is emptied before each test.
  beforeEach(() => world.restore());

  describe(`${callers.length} callers × ${ROUTES.length} routes × ${targets.length} repositories: ${combinations} combinations`, () => {
    test.each(callers)('$name', async (caller) => {
      asked += await checkCaller(caller, targets);
    });

    test('every one of them was asked', () => {
      expect(asked).toBe(combinations);
    });
  });
}
