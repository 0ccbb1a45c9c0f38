/**
 * Logs in with a platform token, for a login that Berth itself does not know.
 *
 * If the platform names an organization that is new to Berth, Berth creates it, so that it can be managed and removed.
 * A removed organization stays removed until an administrator creates it again, whatever the platform says: its tokens
 * are refused, and nothing here clears `removed_at`.
 */
import { OciError } from '../oci/errors.ts';
import type { ControlData } from '../stores/organizations/control-data.ts';
import { TOKEN_EFFECT_MILLISECONDS } from './access-token.ts';
import type { Presented } from './basic.ts';
import type { Login } from './credential.ts';
import { holdsOwnSecret, possibleSecrets } from './own-secrets.ts';
import type { PlatformChecks } from './platform-checks.ts';
import { hashSecret } from './secret-hash.ts';
import { credentialOfToken, fingerprintOf, isReserved, isUserOfToken, platformTokenOf } from './platform-token.ts';

interface PlatformLoginOptions {
  readonly checks: PlatformChecks;
  /** Decides which organizations exist. */
  readonly control: ControlData;
  /** At a node, central's control data, where organizations are created; undefined at central. */
  readonly central: ControlData | undefined;
  /** The secrets of the configuration, which must not be sent to the platform. */
  readonly secrets: readonly string[];
  /** The host that received the request, for the audit log. */
  readonly host: string;
  readonly now: number;
  readonly defer: (work: Promise<unknown>) => void;
  /** Whether the login is known to have been good. */
  readonly wasGood: boolean;
}

/**
 * Checks a login with the platform.
 * @returns undefined if the token is bad or does not belong to the user that came with it
 * @throws OciError UNAVAILABLE; DENIED for an organization that was removed, or whose name is reserved
 */
export async function logInWithPlatform(
  presented: Presented,
  options: PlatformLoginOptions,
): Promise<Login | undefined> {
  const { checks, control, central, secrets, host, now, defer, wasGood } = options;
  const token = platformTokenOf(presented);
  if (token === undefined || holdsOwnSecret(presented, secrets)) return undefined;
  if (await isNearlyKnown(presented, control)) return undefined;
  const checked = await checks.check(token.token, defer, wasGood);
  if (checked === undefined) return undefined;
  const { organization, checkedAt } = checked;
  if (!isUserOfToken(presented.user, token, organization)) return undefined;
  if (isReserved(organization)) {
    throw new OciError('DENIED', {
      message: `the name ${organization} is reserved in this registry: platform tokens cannot use it`,
    });
  }
  const credential = credentialOfToken(organization, await fingerprintOf(token));
  const by = { subject: credential.id, host };
  switch (await control.organizationState(organization)) {
    case 'removed':
      throw new OciError('DENIED', {
        message: `the organization ${organization} was removed: an administrator of the registry can create it again`,
      });
    case 'unknown':
      // A node does not need the row to continue, so it does not wait for central.
      if (central === undefined) await control.addUnknownOrganization(organization, now, by);
      else defer(central.addUnknownOrganization(organization, now, by).catch(() => undefined));
      break;
    case 'there':
  }
  return {
    credential,
    registries: null,
    checkedAt,
    expiresAt: checkedAt + TOKEN_EFFECT_MILLISECONDS,
  };
}

/** Returns whether the login is a credential's secret in a damaged form that {@link possibleSecrets} restores. */
async function isNearlyKnown(presented: Presented, control: ControlData): Promise<boolean> {
  const hashes = await Promise.all([...possibleSecrets(presented)].map(hashSecret));
  return control.knowsSecretAmong(hashes);
}
