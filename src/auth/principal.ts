/** The caller of a request. */
import type { Credential } from './credential.ts';
import type { Scope } from './scope.ts';

export type Principal =
  | { readonly kind: 'anonymous' }
  /** Presented wrong credentials. Such a caller is told to log in, even for what is public. */
  | { readonly kind: 'refused'; readonly reason: string }
  | {
      readonly kind: 'credential';
      readonly credential: Credential;
      /** The scopes of its access token; undefined if the caller presented the credential itself. */
      readonly scopes: readonly Scope[] | undefined;
    };

export const ANONYMOUS: Principal = { kind: 'anonymous' };
