import type { Context } from 'hono';
import type { Credential } from '../auth/credential.ts';
import type { AccessTokens } from '../auth/access-token.ts';
import type { Delegate } from '../auth/delegation.ts';
import type { Freshness } from '../auth/freshness.ts';
import type { KnownGood } from '../auth/login.ts';
import type { PlatformChecks } from '../auth/platform-checks.ts';
import type { Principal } from '../auth/principal.ts';
import type { RefusedLogins } from '../auth/refused-logins.ts';
import type { SigningKeys } from '../auth/signing-keys.ts';
import type { Config } from '../config.ts';
import type { Namespace } from '../namespaces/namespace.ts';
import type { OciError } from '../oci/errors.ts';
import type { Queues } from '../registry/compose.ts';
import type { Registry } from '../registry/registry.ts';

/** What is read once per isolate. */
export interface Runtime {
  readonly config: Config;
  readonly keys: SigningKeys;
  readonly accessTokens: AccessTokens;
  readonly knownGood: KnownGood;
  readonly refusedLogins: RefusedLogins;
  readonly freshness: Freshness;
  /** Undefined where no platform is configured. */
  readonly platformChecks: PlatformChecks | undefined;
}

export interface Variables {
  requestId: string;
  /** Of the request as its client sent it, parsed once. */
  url: URL;
  /** The port that it came in on. */
  port: string;
  /** What the request's log line says besides what every line does. */
  logFields: Record<string, string | number>;
  runtime: Runtime;
  namespace: Namespace;
  registry: Registry;
  queues: Queues;
  principal: Principal;
  /** Of the management API. */
  caller: Credential;
  /** The caller with what limits it, which also limits what it makes. */
  delegate: Delegate;
  /** What the caller is told if the repository that it reads turns out not to be public. */
  refusalUnlessPublic: OciError;
}

export type AppEnv = { Bindings: Env; Variables: Variables };
export type AppContext = Context<AppEnv>;
