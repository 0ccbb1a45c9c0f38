/**
 * Users of a local registry, with well-known passwords. They exist only in the simulators' databases, because a
 * deployment bundles nothing from this folder.
 */
import { createHash } from 'node:crypto';
import type { Miniflare } from 'miniflare';

interface DevelopmentUser {
  readonly name: string;
  readonly password: string;
  readonly kind: 'organization' | 'platform' | 'administrator';
  readonly can: string;
}

export const DEVELOPMENT_USERS: readonly DevelopmentUser[] = [
  { name: 'alice', password: 'alice-dev', kind: 'organization', can: 'owns alice/…' },
  { name: 'bob', password: 'bob-dev', kind: 'organization', can: 'owns bob/…' },
  { name: 'platform', password: 'platform-dev', kind: 'platform', can: 'pulls from all' },
  { name: 'admin', password: 'admin-dev', kind: 'administrator', can: 'administers, under /api/' },
];

/** Adds the development users and their organizations to a database, unless they exist. */
export async function addDevelopmentUsers(database: Awaited<ReturnType<Miniflare['getD1Database']>>): Promise<void> {
  const now = Date.now();
  const organization = database.prepare(
    'INSERT INTO organizations (name, created_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING',
  );
  const credential = database.prepare(
    `INSERT INTO credentials (id, kind, organization, name, rights, repositories, secret_hash, created_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING`,
  );
  await database.batch([
    ...['official', ...DEVELOPMENT_USERS.filter(({ kind }) => kind === 'organization').map(({ name }) => name)].map(
      (name) => organization.bind(name, now),
    ),
    ...DEVELOPMENT_USERS.map(({ name, password, kind }) => {
      const owns = kind === 'organization';
      const rights = owns ? ['pull', 'push', 'delete', 'admin'] : kind === 'platform' ? ['pull'] : ['admin'];
      const hash = createHash('sha256').update(password).digest('hex');
      const repositories = JSON.stringify(owns ? [`${name}/*`] : []);
      return credential.bind(
        `development-${name}`,
        kind,
        owns ? name : '',
        name,
        JSON.stringify(rights),
        repositories,
        hash,
        now,
      );
    }),
  ]);
}
