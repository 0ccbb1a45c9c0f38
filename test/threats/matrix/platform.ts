/**
 * Permissions to list and remove through the platform API: every caller × every route × every repository. Callers that
 * use Basic also send the same base64 as a whole token.
 */
import { expect } from 'vitest';
import { type Caller, callersOf } from './callers.ts';
import { describeCombinations } from './combinations.ts';
import { organizationOf, type Place, REPOSITORIES, repositoriesOf, type Target } from './repositories.ts';
import { may } from './rule.ts';
import type { World } from './world.ts';

interface Expected {
  readonly status: number;
  /** The repositories that the answer must list, and no others; undefined if it is not a list. */
  readonly lists?: readonly string[];
}

interface Route {
  readonly name: string;
  readonly method: 'GET' | 'DELETE';
  path(world: World, target: Target): string;
  /** Returns what a logged-in caller must get. */
  expected(caller: Caller, target: Target): Expected;
}

let place: Place;
let world: World;

/** Returns what lists show: the host's own store, and for older clients central's as well. */
const listed = (path: string): readonly Target[] =>
  REPOSITORIES.filter(({ state }) => state === 'whole' && (place.host === place.store || path === FOR_OLDER_CLIENTS));
const shows = ({ identity }: Caller, { name, visibility }: Target): boolean =>
  visibility === 'public' || may(identity, 'pull', name);

/**
 * Returns the answer to a request for the images of one organization, or of all: those that the caller may pull. An
 * empty list is refused, unless the caller may pull from there.
 */
function listOf(caller: Caller, organization: string | undefined, path: string): Expected {
  const { identity } = caller;
  const lists = listed(path)
    .filter(({ name }) => organization === undefined || organizationOf(name) === organization)
    .filter((target) => shows(caller, target))
    .map(({ name }) => name);
  const pulls =
    identity.kind === 'platform' ||
    organization === undefined ||
    organization === 'official' ||
    (identity.kind === 'organization' && identity.organization === organization && identity.rights.includes('pull'));
  return lists.length > 0 || pulls ? { status: 200, lists } : { status: 403 };
}

const ownOrganization = ({ identity }: Caller): string | undefined =>
  identity.kind === 'organization' ? identity.organization : undefined;

/** Returns one image by name: an empty list if it does not exist, a refusal if the caller may not know. */
function oneOf(caller: Caller, target: Target, path: string): Expected {
  const isShown = shows(caller, target) && listed(path).includes(target);
  if (isShown) return { status: 200, lists: [target.name] };
  return may(caller.identity, 'pull', target.name) ? { status: 200, lists: [] } : { status: 403 };
}

const FOR_OLDER_CLIENTS = '/v1/images/list';
const LIST_PATHS = ['/v1/images', '/v1/image-store', FOR_OLDER_CLIENTS];

const ROUTES: readonly Route[] = [
  ...LIST_PATHS.map((path): Route => ({
    name: `${path} of the caller's organization`,
    method: 'GET',
    path: () => path,
    expected: (caller) => listOf(caller, ownOrganization(caller), path),
  })),
  ...LIST_PATHS.map((path): Route => ({
    name: `${path} of a namespace`,
    method: 'GET',
    path: (_, { name }) => `${path}?namespace=${organizationOf(name)}`,
    expected: (caller, { name }) => listOf(caller, organizationOf(name), path),
  })),
  ...LIST_PATHS.slice(0, 2).flatMap((path): Route[] => [
    {
      name: `${path} by tag`,
      method: 'GET',
      path: (_, { name }) => `${path}?tag=${name}:latest`,
      expected: (caller, target) => oneOf(caller, target, path),
    },
    {
      name: `${path} by digest`,
      method: 'GET',
      path: ({ image }, { name }) => `${path}?digest=${name}@${image.digest}`,
      expected: (caller, target) => oneOf(caller, target, path),
    },
  ]),
  {
    name: 'every image with a digest',
    method: 'GET',
    path: ({ image }, { name }) => `/v1/images?digest=${image.digest}&namespace=${organizationOf(name)}`,
    expected: (caller, { name }) => ({
      status: 200,
      lists: listOf(caller, organizationOf(name), '/v1/images').lists ?? [],
    }),
  },
  { name: 'who am I', method: 'GET', path: () => '/v1/auth', expected: () => ({ status: 200 }) },
  {
    name: 'summary',
    method: 'GET',
    path: (_, { name }) => `/api/v2.0/projects/${organizationOf(name)}/summary`,
    expected: ({ identity }, { name }) => {
      const belongs = identity.kind === 'organization' && identity.organization === organizationOf(name);
      return { status: belongs || identity.kind === 'administrator' ? 200 : 403 };
    },
  },
  {
    name: 'DELETE repository',
    method: 'DELETE',
    path: (_, { name }) => {
      const [project = '', ...rest] = name.split('/');
      return `/api/v2.0/projects/${project}/repositories/${rest.join('%2F')}`;
    },
    expected: ({ identity }, { name, state }) => {
      if (!may(identity, 'delete', name)) return { status: 403 };
      return { status: state === 'absent' ? 404 : 200 };
    },
  },
];

function namesIn(text: string): string[] {
  const { images } = (JSON.parse(text) as { data: { images: Record<string, string>[] } }).data;
  const names = images.map(
    ({ name, url, digest }) => name ?? (url?.replace(/^[^/]+\//, '') ?? digest ?? '').replace(/@.*/, ''),
  );
  return [...new Set(names)].toSorted();
}

async function run(authorization: string | undefined, caller: Caller, route: Route, target: Target): Promise<number> {
  const path = route.path(world, target);
  const where = `${route.method} ${path} as ${caller.name}`;
  const loggedIn = caller.presented === 'basic' && caller.identity.kind !== 'refused';
  const expected: Expected = loggedIn ? route.expected(caller, target) : { status: 401 };
  const response = await world.ask(route.method, path, authorization);
  const text = await response.text();
  expect({ where, status: response.status, text }).toEqual({ where, status: expected.status, text });
  if (expected.lists !== undefined)
    expect({ where, lists: namesIn(text) }).toEqual({ where, lists: expected.lists.toSorted() });
  if (expected.status >= 400) {
    const { errors } = JSON.parse(text) as { errors: { status: number }[] };
    expect([where, errors.map(({ status }) => status)]).toEqual([where, [expected.status]]);
  }
  return expected.status;
}

/** Returns the forms in which a caller presents its credential. */
async function formsOf(caller: Caller): Promise<(string | undefined)[]> {
  const authorization = await caller.authorization(world.registry);
  const token = caller.presented === 'basic' ? authorization?.replace(/^Basic/, 'Bearer') : undefined;
  return token === undefined ? [authorization] : [authorization, token];
}

async function checkCaller(caller: Caller, targets: readonly Target[]): Promise<number> {
  const isRead = ({ method }: Route): boolean => method === 'GET';
  const [reads, removals] = [ROUTES.filter(isRead), ROUTES.filter((route) => !isRead(route))];
  const forms = await formsOf(caller);
  let asked = 0;
  const ask = (authorization: string | undefined, route: Route, target: Target): Promise<number> => {
    asked += 1;
    return run(authorization, caller, route, target);
  };
  for (const authorization of forms) {
    // Reads change nothing, so they may overlap.
    for (const target of targets) await Promise.all(reads.map((route) => ask(authorization, route, target)));
    expect(await world.changes(), 'what reads changed').toEqual([]);
    for (const target of targets) {
      for (const route of removals) {
        const status = await ask(authorization, route, target);
        if (status < 400) await world.restore();
      }
    }
    expect(await world.changes(), 'what refused removals changed').toEqual([]);
  }
  // Each form of the credential tries every combination.
  return asked / forms.length;
}

/** Declares the tests of every caller and route. */
export function describePlatformMatrix(where: Place): void {
  const targets = repositoriesOf(where);
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
