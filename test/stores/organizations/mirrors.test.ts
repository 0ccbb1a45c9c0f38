import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import type { OrganizationName, RepositoryName } from '../../../src/oci/reference.ts';
import { Database } from '../../../src/stores/database.ts';
import { auditBefore } from '../../../src/stores/organizations/audit-page-rows.ts';
import { ControlData } from '../../../src/stores/organizations/control-data.ts';
import { MAX_MIRRORS } from '../../../src/stores/organizations/limits.ts';
import {
  allMirrors,
  type Mirror,
  mirrorOf,
  removeMirror,
  setMirror,
} from '../../../src/stores/organizations/mirrors.ts';
import { mirror } from '../../support/mirrors.ts';

const HUB = 'dockerhub' as OrganizationName;
const FULL = mirror(HUB, {
  from: 'https://registry.example.com',
  loginHost: 'login.example.com',
  prefix: 'team/apps',
  credential: { user: 'berth', secret: 'upstream-secret' },
  repositories: ['web', 'tools/*'],
  ttl: 0,
  stale: Infinity,
  pushes: 'kept',
  isPublic: true,
  changedAt: 7,
});

const database = new Database(env.DB_CENTRAL);
const control = new ControlData(database);

beforeEach(async () => {
  await control.addOrganization(HUB, 1, 0);
});

test('a mirror is read as it was set', async () => {
  expect(await setMirror(database, FULL)).toBe(7);
  expect(await mirrorOf(database, HUB)).toEqual(FULL);
  expect(await allMirrors(database)).toEqual([FULL]);
});

test('setting a mirror again replaces every setting', async () => {
  await setMirror(database, FULL);
  expect(await setMirror(database, mirror(HUB, { changedAt: 9 }))).toBe(9);
  expect(await allMirrors(database)).toEqual([mirror(HUB, { changedAt: 9 })]);
});

test('each change gets a later time than the one before, even if its clock is behind', async () => {
  await setMirror(database, FULL);
  expect(await setMirror(database, mirror(HUB, { changedAt: 5 }))).toBe(8);
  expect(await setMirror(database, mirror(HUB, { changedAt: 6 }))).toBe(9);
  expect(await mirrorOf(database, HUB)).toEqual(mirror(HUB, { changedAt: 9 }));
});

describe('a change without a password', () => {
  const keeping = (settings: Partial<Mirror> = {}) => ({
    ...FULL,
    credential: { user: 'berth', secret: undefined },
    changedAt: 9,
    ...settings,
  });

  test('keeps the stored one', async () => {
    await setMirror(database, FULL);
    expect(await setMirror(database, keeping({ ttl: 5 }))).toBe(9);
    expect(await mirrorOf(database, HUB)).toEqual({ ...FULL, ttl: 5, changedAt: 9 });
  });

  test.each([
    ['another upstream', { from: 'https://evil.example' }],
    ['another login host', { loginHost: 'evil.example' }],
    ['no login host', { loginHost: undefined }],
    ['another user', { credential: { user: 'other', secret: undefined } }],
  ])('is refused with %s, and tells no node', async (_what, settings) => {
    await setMirror(database, FULL);
    const entries = "SELECT count(*) AS count FROM change_log WHERE kind = 'mirror'";
    const before = await env.DB_CENTRAL.prepare(entries).first('count');
    expect(await setMirror(database, { ...keeping(), ...settings })).toBeUndefined();
    expect(await mirrorOf(database, HUB)).toEqual(FULL);
    expect(await env.DB_CENTRAL.prepare(entries).first('count')).toBe(before);
  });

  test('is refused if no password is stored', async () => {
    expect(await setMirror(database, keeping())).toBeUndefined();
    await setMirror(database, mirror(HUB, { from: FULL.from, loginHost: FULL.loginHost }));
    expect(await setMirror(database, keeping())).toBeUndefined();
  });
});

test('only an organization that exists can become a mirror', async () => {
  expect(await setMirror(database, mirror('nobody'))).toBeUndefined();
  expect(await allMirrors(database)).toEqual([]);
});

test('no mirror can be added beyond the limit, but each can be changed', async () => {
  const names = Array.from({ length: MAX_MIRRORS }, (_, i) => `m${i}`);
  for (const name of names) {
    await control.addOrganization(name as OrganizationName, 1, 0);
    expect(await setMirror(database, mirror(name))).toBeDefined();
  }
  expect(await setMirror(database, mirror(HUB))).toBeUndefined();
  expect(await setMirror(database, mirror(names[0]!, { ttl: 5 }))).toBeDefined();
  expect(await allMirrors(database)).toHaveLength(MAX_MIRRORS);
});

test('a removed mirror is an ordinary organization', async () => {
  await setMirror(database, FULL);
  expect(await removeMirror(database, HUB, 8)).toBe(true);
  expect(await removeMirror(database, HUB, 9)).toBe(false);
  expect(await mirrorOf(database, HUB)).toBeUndefined();
  expect(await control.organization(HUB)).toBeDefined();
});

test('a removed organization loses its mirror, and a new one of the same name has none', async () => {
  await setMirror(database, FULL);
  expect(await control.removeOrganization(HUB, 8)).toBe(true);
  expect(await allMirrors(database)).toEqual([]);
  expect(await control.addOrganization(HUB, 10, 9)).toBe(true);
  expect(await mirrorOf(database, HUB)).toBeUndefined();
});

test('an organization whose removal is refused keeps its mirror', async () => {
  await setMirror(database, FULL);
  await env.DB_CENTRAL.prepare(`INSERT INTO repositories (name, created_at, listed) VALUES ('${HUB}/app', 1, 1)`).run();
  expect(await control.removeOrganization(HUB, 8)).toBe(false);
  expect(await mirrorOf(database, HUB)).toEqual(FULL);
});

test('all repositories of a public mirror are public, whether they exist or not, and no others', async () => {
  const [pulled, other] = [`${HUB}/library/alpine`, `${HUB}er/app`] as [RepositoryName, RepositoryName];
  await control.addOrganization('dockerhuber' as OrganizationName, 1, 0);
  await setMirror(database, mirror(HUB));
  expect(await control.publicAmong([pulled, other])).toEqual(new Set());
  await setMirror(database, mirror(HUB, { isPublic: true }));
  expect(await control.publicAmong([pulled, other])).toEqual(new Set([pulled]));
  await removeMirror(database, HUB, 8);
  expect(await control.publicAmong([pulled, other])).toEqual(new Set());
});

test('the audit log says who changed a mirror, without its credential', async () => {
  const by = { subject: 'admin', host: 'registry.test' };
  await setMirror(database, FULL, by);
  await removeMirror(database, HUB, 8, by);
  const { entries } = await auditBefore(database, HUB, { by: '', action: '', from: 0 }, { at: 100, id: 0 }, 10);
  expect(entries.map(({ action, key, subject }) => [action, key, subject])).toEqual([
    ['remove mirror', '', 'admin'],
    ['set mirror', FULL.from, 'admin'],
    ['create organization', '', ''],
  ]);
  expect(JSON.stringify(entries)).not.toContain('upstream-secret');
});
