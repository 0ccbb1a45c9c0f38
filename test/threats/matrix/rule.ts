/**
 * The permission rules, written a second time and independently of the code under test: docs/architecture.md as a table
 * from caller, route and repository to an answer.
 */
import { ORIGINS } from '../../support/three-hosts.ts';
import type { Caller, Identity } from './callers.ts';
import { organizationOf, type Place, SOURCES, type Target } from './repositories.ts';
import type { Answer, Route } from './routes.ts';

export interface Expected {
  readonly answer: Answer;
  readonly allowed: boolean;
  /** The parts that WWW-Authenticate must contain; undefined if there must be none. */
  readonly challenge: readonly string[] | undefined;
}

type Action = 'pull' | 'push' | 'delete';

/** Returns whether the caller has the right itself; public repositories come on top. */
export function may(identity: Identity, action: Action, repository: string): boolean {
  const organization = organizationOf(repository);
  switch (identity.kind) {
    case 'nobody':
    case 'refused':
      return false;
    case 'platform':
      return action === 'pull';
    case 'administrator':
      return action === 'pull' && organization === 'official';
    case 'organization':
      if (action === 'pull' && organization === 'official') return true;
      return (
        identity.organization === organization && identity.rights.includes(action) && identity.covers.test(repository)
      );
  }
}

const allowed = (answer: Answer): Expected => ({ answer, allowed: true, challenge: undefined });
const unauthorized = (...challenge: readonly string[]): Expected => ({
  answer: [401, 'UNAUTHORIZED'],
  allowed: false,
  challenge,
});
const DENIED: Expected = { answer: [403, 'DENIED'], allowed: false, challenge: undefined };
const UNKNOWN: Expected = { answer: [404, 'NOT_FOUND'], allowed: false, challenge: undefined };

export function expectedOfV2({ host }: Place, caller: Caller, route: Route, target: Target): Expected {
  const { identity, presented } = caller;
  const bearer = `Bearer realm="${ORIGINS[host]}/token",service="${new URL(ORIGINS[host]).host}"`;
  const withoutScopes = presented === 'token for nothing';
  const { needs } = route;
  const scope =
    needs === 'catalog' ? 'registry:catalog:*' : `repository:${target.name}:${needs === 'push' ? 'pull,push' : needs}`;
  // The OCI API treats the bootstrap secret as an invalid token.
  if (identity.kind === 'refused' || presented === 'bootstrap secret') {
    return unauthorized(bearer, ...(needs === 'login' ? [] : [`scope="${scope}"`]), 'error="invalid_token"');
  }
  if (needs === 'login') return identity.kind === 'nobody' ? unauthorized(bearer) : allowed(route.answers.whole);
  if (needs === 'catalog') {
    if (identity.kind === 'nobody') return unauthorized(bearer, `scope="${scope}"`);
    if (withoutScopes) return unauthorized(bearer, `scope="${scope}"`, 'error="insufficient_scope"');
    return allowed(route.answers.whole);
  }
  if (needs === 'pull' && target.visibility === 'public') return allowed(route.answers[target.state]);
  if (identity.kind === 'nobody') return unauthorized(bearer, `scope="${scope}"`);
  if (!may(identity, needs, target.name)) return DENIED;
  if (withoutScopes) return unauthorized(bearer, `scope="${scope}"`, 'error="insufficient_scope"');
  return allowed(route.mounts === undefined ? route.answers[target.state] : mounted(identity, route.mounts));
}

/** Returns 201 if the caller can pull from the source and the blob is there; otherwise an ordinary upload is opened. */
function mounted(identity: Identity, { blob, from }: NonNullable<Route['mounts']>): Answer {
  const source = from === '' ? blob : from;
  return source === blob && (source === 'public' || may(identity, 'pull', SOURCES[source])) ? [201] : [202];
}

/** Returns what the catalog must list: repositories with a manifest that the caller may pull, in byte order. */
export function expectedCatalog({ identity }: Caller, targets: readonly Target[]): string[] {
  const listed = targets.filter(({ state }) => state === 'whole');
  return listed
    .filter(({ name, visibility }) => visibility === 'public' || may(identity, 'pull', name))
    .map(({ name }) => name)
    .toSorted();
}

export interface ApiRoute {
  /**
   * The callers that may use the route. `login`: all who log in. `registry`: administrators. `organization`: also the
   * organization's admins. `repository`: of those admins, only the ones whose credential covers the repository. `pull`,
   * `push`: callers that may pull from it, or push to it. `prefetch`: callers that may push to it, or run the nodes.
   */
  readonly needs: 'nothing' | 'login' | 'registry' | 'organization' | 'repository' | 'pull' | 'push' | 'prefetch';
  /** Whether a credential with repositories outside the caller's patterns is answered as an unknown one. */
  readonly hides?: boolean;
  /** Registries that the route changes: the caller's credential must be good at all of them. */
  readonly holdsAt?: readonly string[] | undefined;
}

/** A credential that is created or removed: its rights, where it is good, and when it ends. */
export interface Granted {
  readonly rights?: readonly string[];
  /** A name that stands for the pattern of its repositories: a caller's patterns cover both or neither. */
  readonly repository?: string;
  /** Undefined means everywhere. */
  readonly registries?: readonly string[];
  /** Milliseconds since the epoch; null means never, undefined that it does not matter. */
  readonly end?: number | null;
}

const EVERYWHERE = ['central', 'node1', 'node2'];

/** Returns whether the caller's credential has everything that the other one has. */
function reaches(identity: Identity, { rights = [], repository, registries, end }: Granted): boolean {
  const { limits = {} } = identity;
  if (identity.kind === 'organization') {
    if (!rights.every((right) => (identity.rights as readonly string[]).includes(right))) return false;
    if (repository !== undefined && !identity.covers.test(repository)) return false;
  }
  const own = limits.registries;
  if (own !== undefined && !(registries ?? [...EVERYWHERE, 'a node of tomorrow']).every((name) => own.includes(name)))
    return false;
  return limits.expiresAt === undefined || end === undefined || (end !== null && end <= limits.expiresAt);
}

export function expectedOfApi(
  caller: Caller,
  route: ApiRoute,
  { repository, isPublic }: { readonly repository: string; readonly isPublic: boolean },
  answer: Answer,
  granted?: Granted,
): Expected {
  const { identity, presented } = caller;
  const organization = organizationOf(repository);
  if (route.needs === 'nothing') return allowed(answer);
  const loggedIn = (presented === 'basic' || presented === 'bootstrap secret') && identity.kind !== 'refused';
  if (!loggedIn) return unauthorized('Basic realm="Berth"');
  if (route.needs === 'login') return allowed(answer);
  if (route.needs === 'pull' || route.needs === 'push') {
    return may(identity, route.needs, repository) || (isPublic && route.needs === 'pull') ? allowed(answer) : DENIED;
  }
  if (route.needs === 'prefetch') {
    const runsNodes = identity.kind === 'platform' || identity.kind === 'administrator';
    const isThere = reaches(identity, { registries: route.holdsAt ?? [] });
    return (runsNodes || may(identity, 'push', repository)) && isThere ? allowed(answer) : DENIED;
  }
  const manages =
    identity.kind === 'administrator' ||
    (route.needs !== 'registry' &&
      identity.kind === 'organization' &&
      identity.organization === organization &&
      identity.rights.includes('admin') &&
      (route.needs === 'organization' || identity.covers.test(repository)));
  const isGood = route.holdsAt === undefined || reaches(identity, { registries: route.holdsAt });
  const { repository: granting } = granted ?? {};
  const isHidden = identity.kind === 'organization' && granting !== undefined && !identity.covers.test(granting);
  if (manages && isGood && route.hides === true && isHidden) return UNKNOWN;
  return manages && isGood && (granted === undefined || reaches(identity, granted)) ? allowed(answer) : DENIED;
}
