/**
 * Sessions of the console. A session is the login itself, sealed in a cookie that only Berth can read. Each request
 * logs in again with it, as a client of the API does, so the removal of a credential ends its sessions as soon as it
 * ends its access tokens. Nothing is stored.
 */
import { EncryptJWT, jwtDecrypt } from 'jose';
import { z } from 'zod';
import type { SigningKeys } from '../auth/signing-keys.ts';
import { HOUR } from '../durations.ts';

/** The longest session. */
export const SESSION_MILLISECONDS = 8 * HOUR;

export interface Session {
  readonly user: string;
  readonly secret: string;
  /** Random. The forgery tokens of the session's forms are derived from it. */
  readonly id: string;
}

const claims = z.object({ user: z.string(), secret: z.string(), jti: z.string() });

/** Seals and opens sessions with keys derived from the signing keys, so that both are rotated together. */
export class Sessions {
  readonly #keys: SigningKeys;

  constructor(keys: SigningKeys) {
    this.#keys = keys;
  }

  /** Returns the value of the cookie for a new session. */
  async seal(user: string, secret: string, now: number): Promise<string> {
    const key = await this.#keys.derive(PURPOSE);
    return new EncryptJWT({ user, secret })
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM' })
      .setJti(crypto.randomUUID())
      .setIssuedAt(new Date(now))
      .setExpirationTime(new Date(now + SESSION_MILLISECONDS))
      .encrypt(key);
  }

  /** Returns the session in a cookie; undefined if Berth has not sealed it, or it has ended. */
  async open(cookie: string, now: number): Promise<Session | undefined> {
    for (const key of await this.#keys.deriveAll(PURPOSE)) {
      try {
        const { payload } = await jwtDecrypt(cookie, key, {
          keyManagementAlgorithms: ['dir'],
          contentEncryptionAlgorithms: ['A256GCM'],
          currentDate: new Date(now),
          maxTokenAge: SESSION_MILLISECONDS / 1000,
          requiredClaims: ['exp', 'iat', 'jti'],
        });
        const { user, secret, jti } = claims.parse(payload);
        return { user, secret, id: jti };
      } catch {
        // Another key may have sealed it.
      }
    }
    return undefined;
  }

  /** Returns the token that a form of the session carries, so that other sites cannot submit it. */
  formToken(session: Session): Promise<string> {
    return this.#keys.sign(`console form\n${session.id}`);
  }

  /** Returns whether a form was made for the session. */
  madeForm(session: Session, token: string): Promise<boolean> {
    return this.#keys.verify(`console form\n${session.id}`, token);
  }
}

const PURPOSE = 'console session';
