/**
 * Logging in with a token of the platform, for a login that Berth itself does not know.
 *
 * An organization that the platform names and Berth has never heard of is created: so it can be managed, and removed.
 * One that was removed here stays removed until an administrator creates it again, whatever the platform says: its
 * tokens are refused, and nothing here clears `removed_at`.
 */
import { OciError } from '../oci/errors.ts';
import type { ControlData } from '../stores/organizations/control-data.ts';
import { TOKEN_EFFECT_MILLISECONDS } from './access-token.ts';
import type { Presented } from './basic.ts';
import { hashSecret, type Login } from './login.ts';
import { holdsOwnSecret, possibleSecrets } from './own-secrets.ts';
import type { PlatformChecks } from './platform-checks.ts';
import { credentialOfToken, fingerprintOf, isReserved, isUserOfToken, platformTokenOf } from './platform-token.ts';

export interface PlatformLoginOptions {
  readonly checks: PlatformChecks;
  /** Who decides which organizations there are. */
  readonly control: ControlData;
  /** At a node: central's, where they are written. */
  readonly central: ControlData | undefined;
  /** Secrets of the configuration, which are shown to nobody. */
  readonly secrets: readonly string[];
  /** That is asked, for the audit log. */
  readonly host: string;
  readonly now: number;
  readonly defer: (work: Promise<unknown>) => void;
}

/**
 * @returns undefined for a bad token, or one that is not of the user that came with it
 * @throws OciError UNAVAILABLE; DENIED for an organization that was removed, or whose name is reserved
 */
export async function logInWithPlatform(
  presented: Presented,
  options: PlatformLoginOptions,
): Promise<Login | undefined> {
  const { checks, control, central, secrets, host, now, defer } = options;
  const token = platformTokenOf(presented);
  if (token === undefined || holdsOwnSecret(presented, secrets)) return undefined;
  if (await isNearlyKnown(presented, control)) return undefined;
  const checked = await checks.check(token.token, defer);
  if (checked === undefined) return undefined;
  const { organization, checkedAt } = checked;
  if (!isUserOfToken(presented.user, token, organization)) return undefined;
  if (isReserved(organization)) {
    throw new OciError('DENIED', {
      message: `the name ${organization} is reserved in this registry: no platform's token is for it`,
    });
  }
  const credential = credentialOfToken(organization, await fingerprintOf(token));
  const by = { subject: credential.id, host };
  switch (await control.organizationState(organization)) {
    case 'removed':
      throw new OciError('DENIED', {
        message: `the organization ${organization} was removed from this registry: an administrator can create it again`,
      });
    case 'unknown':
      // A node needs no row to go on, and does not wait for central.
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

/** Whether a credential's secret was presented in a form that {@link possibleSecrets} repairs. */
async function isNearlyKnown(presented: Presented, control: ControlData): Promise<boolean> {
  const hashes = await Promise.all([...possibleSecrets(presented)].map(hashSecret));
  return control.knowsSecretAmong(hashes);
}
