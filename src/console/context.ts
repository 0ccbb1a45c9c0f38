import type { Context } from 'hono';
import type { Config } from '../config.ts';
import type { SigningKeys } from '../auth/signing-keys.ts';
import type { RegistryClient, Send } from './registry-client.ts';
import type { Session } from './session.ts';
import type { Caller } from './answers.ts';

/** The objects that the Worker hands to the console with each request. */
export interface FromWorker {
  readonly runtime: { readonly config: Config; readonly keys: SigningKeys };
  /** The URL as the browser sent it. */
  readonly url: URL;
  readonly send: Send;
  /**
   * Waits for room for a document that a page shows. Call it once a request.
   * @throws OciError UNAVAILABLE
   */
  readonly makeRoom: (bytes: number) => Promise<void>;
}

/** The reader who has signed in, for the pages. */
export interface SignedIn {
  readonly session: Session;
  readonly caller: Caller;
  readonly registry: RegistryClient;
  /** The token that each form carries. */
  readonly formToken: string;
}

export type ConsoleEnv = { Bindings: FromWorker; Variables: { reader: SignedIn } };
export type ConsoleContext = Context<ConsoleEnv>;
