/**
 * Scopes of access tokens, in the grammar of Docker's token flow:
 * `repository:<name>:<action>[,<action>]` and `registry:catalog:*`.
 */
import { isRepositoryName, type RepositoryName } from '../oci/reference.ts';
import type { Action } from './credential.ts';

export type Scope =
  | { readonly type: 'repository'; readonly name: RepositoryName; readonly actions: readonly Action[] }
  | { readonly type: 'catalog' };

/** The most scopes of a token. Clients ask for one or two, plus one for each repository that they mount from. */
const MAX_SCOPES = 32;
/** The most characters of all scopes together. Every request of the client carries them. */
const MAX_CHARACTERS = 4096;

const ACTIONS: readonly Action[] = ['pull', 'push', 'delete'];

/**
 * Parses the scopes that clients send, in several parameters or separated by spaces within one. It leaves out scopes
 * that it does not understand, and those beyond {@link MAX_SCOPES} or {@link MAX_CHARACTERS}. This is allowed because a
 * token may always grant less than what was requested.
 */
export function parseScopes(parameters: readonly string[]): Scope[] {
  let characters = 0;
  return textsOf(parameters)
    .slice(0, MAX_SCOPES)
    .flatMap((text) => {
      characters += text.length;
      return characters > MAX_CHARACTERS ? [] : parseScope(text);
    });
}

/**
 * Returns the repository name that a client wants to push to, if that is its only scope. The name may be invalid.
 */
export function nameOfOnlyPush(parameters: readonly string[]): string | undefined {
  const [text = '', ...others] = textsOf(parameters);
  const { name, actions } = repositoryIn(text);
  return others.length === 0 && actions.includes('push') ? name : undefined;
}

function textsOf(parameters: readonly string[]): string[] {
  return [...new Set(parameters.flatMap((parameter) => parameter.split(' ')))].filter((text) => text !== '');
}

function parseScope(text: string): Scope[] {
  if (text === 'registry:catalog:*') return [{ type: 'catalog' }];
  const { name, actions } = repositoryIn(text);
  return isRepositoryName(name) ? [{ type: 'repository', name, actions }] : [];
}

function repositoryIn(text: string): { readonly name: string; readonly actions: readonly Action[] } {
  const [, name = '', list = ''] = /^repository(?:\([a-z0-9]+\))?:(.+):([a-z*,]*)$/.exec(text) ?? [];
  const asked = list.split(',');
  return { name, actions: asked.includes('*') ? ACTIONS : ACTIONS.filter((action) => asked.includes(action)) };
}

/** Formats a scope as it appears in tokens and challenges. */
export function formatScope(scope: Scope): string {
  return scope.type === 'catalog' ? 'registry:catalog:*' : `repository:${scope.name}:${scope.actions.join(',')}`;
}

/**
 * Returns whether the scopes of a token cover an action. A token for pushing also covers deletion, because older
 * clients delete with `pull,push`. The credential must still have the right to delete.
 */
export function covers(scopes: readonly Scope[], action: Action, repository: RepositoryName): boolean {
  const sufficient: readonly Action[] = action === 'delete' ? ['delete', 'push'] : [action];
  return scopes.some(
    (scope) =>
      scope.type === 'repository' &&
      scope.name === repository &&
      scope.actions.some((given) => sufficient.includes(given)),
  );
}
