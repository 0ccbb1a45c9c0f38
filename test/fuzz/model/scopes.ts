/**
 * Scopes of Docker's token flow, and who may get them (docs/authentication.md; docs/architecture.md, "Who may do
 * what").
 */
import { isRepositoryName, isSpecName, organizationOf } from './names.ts';
import { every } from './text.ts';

export const ACTIONS = ['pull', 'push', 'delete'] as const;
export type Action = (typeof ACTIONS)[number];

/** The rights of a caller. */
export interface Caller {
  readonly organization: string | undefined;
  readonly rights: readonly string[];
  /** Names of repositories; `<prefix>/*` covers everything below the prefix. */
  readonly patterns: readonly string[];
  readonly pullsAll: boolean;
}

export const CALLERS: Readonly<Record<'alice' | 'aliceReader' | 'aliceApp' | 'bob' | 'platform' | 'admin', Caller>> = {
  alice: { organization: 'alice', rights: [...ACTIONS], patterns: ['alice/*'], pullsAll: false },
  aliceReader: { organization: 'alice', rights: ['pull'], patterns: ['alice/*'], pullsAll: false },
  aliceApp: {
    organization: 'alice',
    rights: ['pull', 'push'],
    patterns: ['alice/app', 'alice/team/*'],
    pullsAll: false,
  },
  bob: { organization: 'bob', rights: [...ACTIONS], patterns: ['bob/*'], pullsAll: false },
  platform: { organization: undefined, rights: [], patterns: [], pullsAll: true },
  admin: { organization: undefined, rights: [], patterns: [], pullsAll: false },
};

/** The public repositories. */
export const PUBLIC = ['alice/public', 'bob/public'] as const;

/** Returns whether a caller has the right itself, apart from public repositories. */
export function may(caller: Caller | undefined, action: Action, repository: string): boolean {
  if (caller === undefined) return false;
  if (action === 'pull' && (caller.pullsAll || organizationOf(repository) === 'official')) return true;
  const matches = caller.patterns.some((pattern) =>
    pattern.endsWith('/*') ? repository.startsWith(pattern.slice(0, -1)) : repository === pattern,
  );
  return matches && caller.rights.includes(action);
}

export function isPublic(repository: string): boolean {
  return PUBLIC.some((one) => one === repository);
}

/** A token grants nothing beyond this many scopes, or this many characters of them. */
const [MOST, MOST_CHARACTERS] = [32, 4096];

function textsOf(parameters: readonly string[]): string[] {
  return [...new Set(parameters.flatMap((parameter) => parameter.split(' ')))].filter((text) => text !== '');
}

/** Returns what a token grants of the requested scopes, as `<repository> <action>`, and `catalog`. */
export function grantsOf(caller: Caller | undefined, parameters: readonly string[]): Set<string> {
  const grants = new Set<string>();
  let characters = 0;
  for (const text of textsOf(parameters).slice(0, MOST)) {
    characters += text.length;
    if (characters > MOST_CHARACTERS) break;
    if (text === 'registry:catalog:*' && caller !== undefined) grants.add('catalog');
    const { repository, actions } = parse(text);
    for (const action of actions) {
      if (may(caller, action, repository) || (action === 'pull' && isPublic(repository)))
        grants.add(`${repository} ${action}`);
    }
  }
  return grants;
}

/** Returns whether the only request is to push to a name that the spec permits, but Berth does not. */
export function isImpossiblePush(parameters: readonly string[]): boolean {
  const texts = textsOf(parameters);
  const { repository, actions } = parse(texts[0] ?? '', isSpecName);
  return texts.length === 1 && actions.includes('push') && !isRepositoryName(repository);
}

/** Parses `repository:<name>:<action>[,<action>]`; the type may have a class in parentheses. */
function parse(text: string, isName = isRepositoryName): { repository: string; actions: readonly Action[] } {
  const none = { repository: '', actions: [] };
  const first = text.indexOf(':');
  const last = text.lastIndexOf(':');
  if (first < 0 || first === last) return none;
  const [type, repository, list] = [text.slice(0, first), text.slice(first + 1, last), text.slice(last + 1)];
  const isType = type === 'repository' || /^repository\([a-z0-9]+\)$/.test(type);
  const isList = every(
    list,
    (character) => (character >= 'a' && character <= 'z') || character === ',' || character === '*',
  );
  if (!isType || !isList || !isName(repository)) return none;
  const asked = list.split(',');
  return { repository, actions: ACTIONS.filter((action) => asked.includes(action) || asked.includes('*')) };
}
