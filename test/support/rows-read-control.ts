/** Operations on organizations, credentials and limits in a store that {@link fillAsAdversary} has filled. */
import type { OrganizationName, RepositoryName } from '../../src/oci/reference.ts';
import type { ControlData } from '../../src/stores/organizations/control-data.ts';
import type { Database } from '../../src/stores/database.ts';
import { countRefusedLogin } from '../../src/stores/organizations/refused-login-rows.ts';
import { largestRepositories } from '../../src/stores/organizations/largest-repositories-rows.ts';
import { usageByDay } from '../../src/stores/organizations/usage-by-day-rows.ts';
import * as shown from '../../src/stores/organizations/usage-shown.ts';
import * as mirrors from '../../src/stores/organizations/mirrors.ts';
import { isQuotaExceeded } from '../../src/stores/organizations/usage-rows.ts';
import { DEFAULT_LIMITS } from '../../src/stores/organizations/limits.ts';
import * as limits from '../../src/stores/organizations/organization-limits.ts';
import { BIG, COMMON, digest, MALLORY, NOW, TAG } from './adversary.ts';
import { mirror } from './mirrors.ts';
import type { Operation } from './rows-read.ts';

const organization = (name: string) => name as OrganizationName;

/** Returns the operations by name, in the order in which they must run. */
export function control(database: Database, data: ControlData): [string, Operation][] {
  const credential = {
    id: 'new',
    kind: 'organization',
    organization: MALLORY,
    name: 'new',
    rights: '[]',
    repositories: '[]',
    secret_hash: 'x',
    created_at: NOW,
    expires_at: null,
    registries: null,
  } as const;
  const repository = 'mallory/00005' as RepositoryName;
  return [
    [
      'a refused login',
      () =>
        database.batch([
          countRefusedLogin({ user: 'c00998', organization: 'x', address: 'a', host: 'h', count: 1 }, NOW),
        ]),
    ],
    ['applied at', () => data.appliedAt('node1')],
    ['log in', () => data.credentialBySecret('hash5')],
    ['credentials', () => data.credentials(MALLORY, '', 10)],
    ['add a credential', () => data.addCredential(credential)],
    ['whether it is there', () => data.hasValidCredential('new', NOW)],
    ['record its use', () => data.recordUse('new', NOW)],
    ['remove that credential', () => data.removeCredential('new', NOW)],
    ['an organization', () => data.organization(MALLORY)],
    ['its state', () => data.organizationState(MALLORY)],
    ['organizations', () => data.organizations('', 10)],
    ['add an unknown organization', () => data.addUnknownOrganization(organization('eve'), NOW)],
    ['add one whose name is free again', () => data.addOrganization(organization('a00005'), NOW, NOW)],
    ['remove that organization', () => data.removeOrganization(organization('a00005'), NOW)],
    ['repositories', () => data.repositories([{ from: `${MALLORY}/`, to: `${MALLORY}0` }], '', 10)],
    ['add a repository', () => data.addRepository('mallory/zzz' as RepositoryName, NOW)],
    ['a repository', () => data.repository(repository)],
    ['make it private', () => data.setPublic(repository, false, NOW)],
    ['make it public', () => data.setPublic(repository, true, NOW)],
    ['public repositories', () => data.publicAmong([repository, BIG])],
    ['a quota', () => data.setQuota(MALLORY, 1_000_000_000, NOW)],
    ['mirrors', () => mirrors.allMirrors(database)],
    ['a mirror', () => mirrors.mirrorOf(database, organization('org7'))],
    ['set a mirror', () => mirrors.setMirror(database, mirror('org7', { changedAt: NOW }))],
    [
      'change a mirror that keeps its password',
      () =>
        mirrors.setMirror(database, {
          ...mirror('org7', { changedAt: NOW }),
          credential: { user: 'berth', secret: undefined },
        }),
    ],
    ['a mirror too many', () => mirrors.setMirror(database, mirror(MALLORY, { changedAt: NOW }))],
    ['remove a mirror', () => mirrors.removeMirror(database, organization('org7'), NOW)],
    ['set a further mirror', () => mirrors.setMirror(database, mirror(MALLORY, { changedAt: NOW }))],
    ['usage', () => shown.usageAtCentral(database, MALLORY)],
    ['usage by repository', () => largestRepositories(database, MALLORY)],
    ['usage by the day', () => usageByDay(database, MALLORY, NOW)],
    ['usage at a node', () => shown.usageAmong(database, [MALLORY])],
    ['a credential by name', () => data.credential(MALLORY, 'c00005')],
    ['a secret among some', () => data.knowsSecretAmong(['x', 'hash7'])],
    [
      'limits on another manifest',
      () =>
        limits.limitExceeded(
          database,
          BIG,
          limits.addition(digest('9', 9), 5, [TAG], DEFAULT_LIMITS),
          '[]',
          DEFAULT_LIMITS,
        ),
    ],
    [
      'the limit of blobs on another manifest',
      () => {
        const few = { ...DEFAULT_LIMITS, blobs: 1 };
        const blobs = JSON.stringify([COMMON, digest('e', 5), digest('9', 3)]);
        return limits.limitExceeded(database, BIG, limits.addition(digest('9', 9), 5, [], few), blobs, few);
      },
    ],
    ['limits on another upload', () => limits.uploadsExceeded(database, BIG, true, DEFAULT_LIMITS.blobs)],
    ['whether a quota has room', () => isQuotaExceeded(database, BIG, 5)],
    ['most usage', () => shown.mostUsage(database)],
    ['a full quota', () => data.setQuota(MALLORY, 1, NOW)],
  ];
}
