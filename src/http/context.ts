import type { Context } from 'hono';
import type { Credential } from '../auth/credential.ts';
import type { AccessTokens } from '../auth/access-token.ts';
import type { Delegate } from '../auth/delegation.ts';
import type { Freshness } from '../auth/freshness.ts';
import type { KnownGood } from '../auth/known-good.ts';
import type { LoginLimits } from '../auth/login-limits.ts';
import type { PlatformChecks } from '../auth/platform-checks.ts';
import type { Principal } from '../auth/principal.ts';
import type { RefusedLogins } from '../auth/refused-logins.ts';
import type { SigningKeys } from '../auth/signing-keys.ts';
import type { Config } from '../config.ts';
import type { Namespace } from '../namespaces/namespace.ts';
import type { OciError } from '../oci/errors.ts';
import type { OrganizationName } from '../oci/reference.ts';
import type { Queues } from '../registry/compose.ts';
import type { Pulls } from '../registry/pulls.ts';
import type { Registry } from '../registry/registry.ts';

/** Objects that an isolate creates once and shares between its requests. */
export interface Runtime {
  readonly config: Config;
  readonly keys: SigningKeys;
  readonly accessTokens: AccessTokens;
  readonly knownGood: KnownGood;
  readonly loginLimits: LoginLimits;
  readonly refusedLogins: RefusedLogins;
  readonly freshness: Freshness;
  /** Undefined if no platform is configured. */
  readonly platformChecks: PlatformChecks | undefined;
  /** Undefined if the deployment cannot read them back. */
  readonly pulls: Pulls | undefined;
}

interface Variables {
  requestId: string;
  /** The URL as the client sent it, parsed once. */
  url: URL;
  /** The port that the request came in on. */
  port: string;
  /** Fields of the request's log line beyond those that every line has. */
  logFields: Record<string, string | number>;
  runtime: Runtime;
  namespace: Namespace;
  /** The organization whose host was asked; undefined at the host of a whole registry. */
  mirrorOrganization: OrganizationName | undefined;
  registry: Registry;
  queues: Queues;
  principal: Principal;
  /** The caller of the management API. */
  caller: Credential;
  /** The caller and its limits. A credential that the caller creates never exceeds them. */
  delegate: Delegate;
  /** The error to answer with if the repository that is read turns out not to be public. */
  refusalUnlessPublic: OciError;
}

export type AppEnv = { Bindings: Env; Variables: Variables };
export type AppContext = Context<AppEnv>;
