/** Who makes a request. */
import type { Credential } from './credential.ts';
import type { Scope } from './scope.ts';

export type Principal =
  | { readonly kind: 'anonymous' }
  /** Who presented something that is not good: told to log in whatever is asked for, also for what is public. */
  | { readonly kind: 'refused'; readonly reason: string }
  | {
      readonly kind: 'credential';
      readonly credential: Credential;
      /** What its access token was given for; undefined where the credential itself was presented. */
      readonly scopes: readonly Scope[] | undefined;
    };

export const ANONYMOUS: Principal = { kind: 'anonymous' };
