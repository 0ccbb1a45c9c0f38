import { formatScope, type Scope } from './scope.ts';

/**
 * Returns the value of `WWW-Authenticate`: one challenge for the token flow (RFC 6750 §3, with Docker's `service`). The
 * realm is on the host of the request, because clients refuse any other.
 */
export function challenge(origin: URL, scope?: Scope, error?: 'invalid_token' | 'insufficient_scope'): string {
  const parameters = [
    `realm="${origin.protocol}//${origin.host}/token"`,
    `service="${origin.host}"`,
    ...(scope === undefined ? [] : [`scope="${formatScope(scope)}"`]),
    ...(error === undefined ? [] : [`error="${error}"`]),
  ];
  return `Bearer ${parameters.join(',')}`;
}
