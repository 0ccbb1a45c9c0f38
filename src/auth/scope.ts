/**
 * Scopes of access tokens, in the grammar that Docker's token flow gave the field:
 * `repository:<name>:<action>[,<action>]` and `registry:catalog:*`.
 */
import { isRepositoryName, type RepositoryName } from '../oci/reference.ts';
import type { Action } from './credential.ts';

export type Scope =
  | { readonly type: 'repository'; readonly name: RepositoryName; readonly actions: readonly Action[] }
  | { readonly type: 'catalog' };

/** Scopes of one token. Clients ask for one or two, and for another for each repository that they mount from. */
const MAX_SCOPES = 32;
/** Characters of them all: every request of the client carries them. */
const MAX_CHARACTERS = 4096;

const ACTIONS: readonly Action[] = ['pull', 'push', 'delete'];

/**
 * Parses what clients send: several parameters, and several scopes in one, separated by spaces.
 * What is not understood, or beyond {@link MAX_SCOPES} or {@link MAX_CHARACTERS}, is left out; a token grants the
 * allowed part of what was asked.
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

/** The name of the repository, or what is none, that a client asks to push to and for nothing else. */
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

export function formatScope(scope: Scope): string {
  return scope.type === 'catalog' ? 'registry:catalog:*' : `repository:${scope.name}:${scope.actions.join(',')}`;
}

/**
 * Whether the scopes of a token cover an action. Older clients delete with `pull,push`: for a credential that may
 * delete, a token that was asked for pushing is enough.
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
