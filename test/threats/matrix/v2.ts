/**
 * Invariant 6 over the whole OCI API: every caller × every route × every repository. The expected answers come from the
 * rule in `rule.ts` alone.
 */
import { expect } from 'vitest';
import { type Caller, callersOf, OWNER } from './callers.ts';
import { describeCombinations } from './combinations.ts';
import { REMOTE, type Place, REPOSITORIES, repositoriesOf, type Target } from './repositories.ts';
import { type Route, ROUTES } from './routes.ts';
import { type Expected, expectedCatalog, expectedOfV2 } from './rule.ts';
import type { World } from './world.ts';

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
  // A caller without sessions of its own uses the owner's session: knowing it must not help.
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

/** Returns an answer without its ids and times, and without the name and session that the caller itself sent. */
function shapeOf(response: Response, text: string, session: string, { name }: Target): string {
  const id = response.headers.get('X-Request-Id') ?? '';
  const headers = [...response.headers].filter(([header]) => header !== 'x-request-id');
  return JSON.stringify([response.status, headers, text])
    .replaceAll(id, '')
    .replaceAll(session === '' ? '-' : session, '')
    .replaceAll(name, '');
}

/**
 * Sorts reads first, then deletions, then pushes, so that no answer depends on earlier ones, except those that {@link
 * affectsOthers} names.
 */
function inOrder(cases: readonly Case[]): Case[] {
  const rank = ({ route: { method } }: Case) =>
    method === 'GET' || method === 'HEAD' ? 0 : method === 'DELETE' ? 1 : 2;
  return cases.toSorted((a, b) => rank(a) - rank(b));
}

/**
 * Returns whether later answers may depend on this one: it mounted a blob, or made a node keep a manifest that it read
 * from central.
 */
function affectsOthers({ route, target, expected }: Case): boolean {
  if (route.mounts !== undefined) return expected.answer[0] === 201;
  return place === REMOTE && target.state === 'whole' && route.isKept === true;
}

async function checkCaller(caller: Caller, targets: readonly Target[]): Promise<number> {
  const authorization = await caller.authorization(world.registry);
  const refusals = new Map<string, Map<string, string>>();
  let asked = 0;
  for (const target of targets) {
    const cases = casesOf(caller, target);
    // Refused requests change nothing, so they may overlap.
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
      if (each !== allowed.at(-1) && affectsOthers(each)) await world.restore();
    }
    if (allowed.length > 0) await world.restore();
  }
  // A caller without the right gets the same answer for a whole, an empty and an absent repository.
  for (const [route, shapes] of refusals) expect([route, ...new Set(shapes.values())]).toHaveLength(2);
  return asked;
}

/** Declares the tests of every caller and route on the repositories of the given visibilities. */
export function describeMatrix(where: Place, visibilities: readonly Target['visibility'][]): void {
  const targets = repositoriesOf(where).filter(({ visibility }) => visibilities.includes(visibility));
  describeCombinations({
    place: where,
    callers: callersOf(where.host),
    routes: ROUTES,
    subjects: targets,
    open: (opened) => {
      place = where;
      world = opened;
    },
    check: (caller) => checkCaller(caller, targets),
  });
}
