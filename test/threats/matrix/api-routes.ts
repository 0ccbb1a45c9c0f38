/** Every operation of the management API with its answers to callers who may use it, and the subjects to try it on. */
import { END, USERS_OF_MATRIX, VICTIM } from './callers.ts';
import { organizationOf } from './repositories.ts';
import type { Answer } from './routes.ts';
import type { ApiRoute, Granted } from './rule.ts';

/** The subject of a request; `organization` says how much of it exists. */
export interface Subject {
  readonly repository: string;
  readonly exists: boolean;
  readonly isPublic: boolean;
  readonly organization: 'full' | 'vacant' | 'absent';
  readonly credential: string;
}

export const SUBJECTS: readonly Subject[] = [
  { repository: 'alice/closed', isPublic: false, exists: true, organization: 'full', credential: VICTIM.name },
  { repository: 'alice/absent', isPublic: false, exists: false, organization: 'full', credential: 'nobody' },
  { repository: 'alice/open', isPublic: true, exists: true, organization: 'full', credential: 'alice' },
  { repository: 'official/base', isPublic: false, exists: true, organization: 'full', credential: 'official' },
  { repository: 'alice/team/deep', isPublic: false, exists: true, organization: 'full', credential: 'alice-team' },
  { repository: 'vacant/none', isPublic: false, exists: false, organization: 'vacant', credential: 'nobody' },
  { repository: 'absent/none', isPublic: false, exists: false, organization: 'absent', credential: 'nobody' },
];

const EVERYWHERE = ['central', 'node1', 'node2'];

export interface Route extends ApiRoute {
  readonly method: string;
  path(subject: Subject): string;
  body?(subject: Subject): object | undefined;
  answer(subject: Subject): Answer;
  /** Returns the credential that the request creates or removes; undefined if there is none. */
  grants?(subject: Subject): Granted | undefined;
}

const pathOf = ({ repository }: Subject): string => encodeURIComponent(nameOf(repository));
const nameOf = (repository: string): string => repository.slice(repository.indexOf('/') + 1);
const of = ({ repository }: Subject): string => `organizations/${organizationOf(repository)}`;
const there = ({ organization }: Subject): boolean => organization !== 'absent';
const credentialExists = ({ credential }: Subject): boolean => credential !== 'nobody';

const found =
  (status: number, exists: (subject: Subject) => boolean) =>
  (subject: Subject): Answer =>
    exists(subject) ? [status] : [404, 'NOT_FOUND'];

const imageOf = (subject: Subject): string => `${of(subject)}/repositories/${pathOf(subject)}/images/latest`;

/** Returns a name that only a pattern for the whole organization covers. */
const anywhereIn = (subject: Subject): string => `${organizationOf(subject.repository)}/any/thing`;

/**
 * Fields of a new credential besides its name, with the rights that they grant. Fields that are left out default to
 * those of the creator.
 */
const NEW_CREDENTIALS: readonly (readonly [
  fields: (subject: Subject) => object,
  granted: (subject: Subject) => Granted,
])[] = [
  [() => ({ rights: ['pull', 'admin'] }), () => ({ rights: ['pull', 'admin'], registries: [] })],
  [() => ({ rights: ['admin'], expires_at: null }), () => ({ rights: ['admin'], registries: [], end: null })],
  [
    () => ({ rights: ['admin'], expires_at: new Date(END + 1).toISOString() }),
    () => ({ rights: ['admin'], registries: [], end: END + 1 }),
  ],
  [
    () => ({ rights: ['admin'], expires_at: new Date(END).toISOString() }),
    () => ({ rights: ['admin'], registries: [], end: END }),
  ],
  [
    () => ({ rights: ['admin'], registries: ['central', 'node1'] }),
    () => ({ rights: ['admin'], registries: ['central', 'node1'] }),
  ],
  [
    (subject) => ({ rights: ['admin', 'push'], repositories: [`${organizationOf(subject.repository)}/*`] }),
    (subject) => ({ rights: ['admin', 'push'], registries: [], repository: anywhereIn(subject) }),
  ],
  [
    ({ repository }) => ({ rights: ['admin', 'delete'], repositories: [repository] }),
    ({ repository }) => ({ rights: ['admin', 'delete'], registries: [], repository }),
  ],
];

/** Returns the credential that a subject names, as it is stored. */
function credentialOf(subject: Subject): Granted | undefined {
  const user = USERS_OF_MATRIX.find(({ name }) => name === subject.credential);
  if (user === undefined) return undefined;
  const [pattern] = user.repositories ?? [];
  const repository = pattern?.replace('*', 'any') ?? anywhereIn(subject);
  return { rights: user.rights ?? ['pull', 'push', 'delete', 'admin'], repository };
}

const QUEUE_ROUTES: readonly (readonly [method: string, path: string, status: number, body?: object])[] = [
  ['GET', '', 200],
  ['PATCH', '', 200, { paused: false }],
  ['GET', '/parked', 200],
  ['GET', '/series', 200],
  ['GET', '/turns', 200],
  ['GET', '/only-here', 200],
  ['POST', '/retry', 200, {}],
  ['POST', '/announce-all', 202],
];

export const ROUTES: readonly Route[] = [
  { needs: 'nothing', method: 'GET', path: () => 'openapi.json', answer: () => [200] },
  { needs: 'login', method: 'GET', path: () => 'caller', answer: () => [200] },
  { needs: 'login', method: 'GET', path: () => 'repositories', answer: () => [200] },
  { needs: 'registry', method: 'GET', path: () => 'organizations', answer: () => [200] },
  {
    needs: 'registry',
    holdsAt: EVERYWHERE,
    method: 'POST',
    path: () => 'organizations',
    body: ({ repository }) => ({ name: organizationOf(repository) }),
    answer: (subject) => (there(subject) ? [409, 'CONFLICT'] : [201]),
  },
  {
    needs: 'registry',
    holdsAt: EVERYWHERE,
    method: 'DELETE',
    path: of,
    answer: ({ organization }) =>
      ({ full: [409, 'CONFLICT'], vacant: [204], absent: [404, 'NOT_FOUND'] } as const)[organization],
  },
  {
    needs: 'registry',
    holdsAt: EVERYWHERE,
    method: 'PUT',
    path: (subject) => `${of(subject)}/quota`,
    body: () => ({ bytes: 1000 }),
    answer: found(200, there),
  },
  {
    needs: 'registry',
    holdsAt: EVERYWHERE,
    method: 'PUT',
    path: (subject) => `${of(subject)}/mirror`,
    body: () => ({ from: 'hub' }),
    answer: found(200, there),
  },
  {
    needs: 'registry',
    holdsAt: EVERYWHERE,
    method: 'DELETE',
    path: (subject) => `${of(subject)}/mirror`,
    answer: () => [404, 'NOT_FOUND'],
  },
  { needs: 'registry', method: 'GET', path: () => 'mirrors', answer: () => [200] },
  {
    needs: 'organization',
    method: 'GET',
    path: (subject) => `${of(subject)}/mirror`,
    answer: () => [404, 'NOT_FOUND'],
  },
  {
    needs: 'organization',
    method: 'GET',
    path: (subject) => `${of(subject)}/mirror/status`,
    answer: () => [404, 'NOT_FOUND'],
  },
  {
    needs: 'organization',
    method: 'POST',
    path: (subject) => `${of(subject)}/mirror/retry`,
    answer: () => [404, 'NOT_FOUND'],
  },
  { needs: 'registry', method: 'GET', path: () => 'credentials', answer: () => [200] },
  { needs: 'registry', method: 'GET', path: () => 'maintenance', answer: () => [200] },
  { needs: 'registry', method: 'GET', path: () => 'deployment', answer: () => [200] },
  { needs: 'registry', method: 'GET', path: () => 'audit', answer: () => [200] },
  {
    needs: 'registry',
    method: 'POST',
    path: () => 'credentials',
    body: ({ exists }) => ({ name: exists ? 'platform' : 'another', kind: 'administrator' }),
    answer: ({ exists }) => (exists ? [409, 'CONFLICT'] : [201]),
  },
  {
    needs: 'registry',
    method: 'POST',
    path: () => 'credentials',
    body: () => ({ name: 'another', kind: 'platform', registries: ['central', 'node1', 'node2'] }),
    grants: () => ({ registries: EVERYWHERE }),
    answer: () => [201],
  },
  {
    needs: 'registry',
    method: 'POST',
    path: () => 'credentials',
    body: () => ({ name: 'another', kind: 'platform', expires_at: null }),
    grants: () => ({ registries: [], end: null }),
    answer: () => [201],
  },
  {
    needs: 'registry',
    method: 'DELETE',
    path: ({ exists }) => `credentials/${exists ? 'platform' : 'another'}`,
    grants: ({ exists }) => (exists ? {} : undefined),
    answer: found(204, ({ exists }) => exists),
  },
  { needs: 'organization', method: 'GET', path: of, answer: found(200, there) },
  { needs: 'organization', method: 'GET', path: (subject) => `${of(subject)}/usage`, answer: found(200, there) },
  ...['days', 'repositories'].map((by): Route => ({
    needs: 'organization',
    method: 'GET',
    path: (subject) => `${of(subject)}/usage/${by}`,
    answer: found(200, there),
  })),
  { needs: 'organization', method: 'GET', path: (subject) => `${of(subject)}/credentials`, answer: found(200, there) },
  { needs: 'organization', method: 'GET', path: (subject) => `${of(subject)}/audit`, answer: () => [200] },
  { needs: 'organization', method: 'GET', path: (subject) => `${of(subject)}/imports`, answer: found(200, there) },
  // An administrator's import is for the whole organization, so a limited credential may not see it.
  ...['GET', 'DELETE'].map((method): Route => ({
    needs: 'organization',
    holdsAt: method === 'GET' ? undefined : ['central'],
    method,
    path: (subject) => `${of(subject)}/imports/11111111-1111-4111-8111-111111111111`,
    answer: () => [404, 'NOT_FOUND'],
  })),
  {
    needs: 'organization',
    method: 'POST',
    path: (subject) => `${of(subject)}/imports`,
    // Callers who may import are refused too, with 400.
    body: () => ({ from: 'https://127.0.0.2', repositories: ['base'] }),
    grants: () => ({ rights: ['push'], registries: ['central'] }),
    answer: () => [400, 'FIELD_INVALID'],
  },
  ...NEW_CREDENTIALS.map(([fields, grants]): Route => ({
    needs: 'organization',
    method: 'POST',
    path: (subject) => `${of(subject)}/credentials`,
    body: (subject) => ({ name: 'another', ...fields(subject) }),
    grants,
    answer: found(201, there),
  })),
  {
    needs: 'organization',
    method: 'DELETE',
    hides: true,
    path: (subject) => `${of(subject)}/credentials/${subject.credential}`,
    grants: credentialOf,
    answer: found(204, credentialExists),
  },
  { needs: 'organization', method: 'GET', path: (subject) => `${of(subject)}/repositories`, answer: found(200, there) },
  ...(['public', 'private'] as const).map((visibility): Route => ({
    needs: 'repository',
    holdsAt: visibility === 'public' ? EVERYWHERE : undefined,
    method: 'POST',
    path: (subject) => `${of(subject)}/repositories`,
    body: ({ repository }) => ({ name: nameOf(repository), visibility }),
    answer: (subject) => (subject.exists ? [409, 'CONFLICT'] : found(201, there)(subject)),
  })),
  {
    needs: 'repository',
    method: 'GET',
    path: (subject) => `${of(subject)}/repositories/${pathOf(subject)}`,
    answer: found(200, ({ exists }) => exists),
  },
  {
    needs: 'repository',
    holdsAt: EVERYWHERE,
    method: 'PATCH',
    path: (subject) => `${of(subject)}/repositories/${pathOf(subject)}`,
    body: () => ({ visibility: 'public' }),
    answer: found(200, ({ exists }) => exists),
  },
  {
    needs: 'repository',
    method: 'DELETE',
    path: (subject) => `${of(subject)}/repositories/${pathOf(subject)}`,
    answer: (subject) => (subject.exists ? [204] : [404, 'NAME_UNKNOWN']),
  },
  {
    needs: 'pull',
    method: 'GET',
    path: (subject) => `${of(subject)}/repositories/${pathOf(subject)}/images?untagged=true`,
    answer: () => [200],
  },
  {
    needs: 'pull',
    method: 'GET',
    path: (subject) => `${of(subject)}/repositories/${pathOf(subject)}/tags`,
    answer: () => [200],
  },
  {
    needs: 'pull',
    method: 'GET',
    path: (subject) => `${of(subject)}/repositories/${pathOf(subject)}/pulls/hours`,
    answer: () => [200],
  },
  {
    needs: 'pull',
    method: 'GET',
    path: imageOf,
    answer: (subject) => (subject.exists ? [200] : [404, 'MANIFEST_UNKNOWN']),
  },
  { needs: 'pull', method: 'GET', path: (subject) => `${imageOf(subject)}/history`, answer: () => [200] },
  {
    needs: 'pull',
    method: 'GET',
    path: (subject) => `${imageOf(subject)}/shared`,
    answer: (subject) => (subject.exists ? [200] : [404, 'NAME_UNKNOWN']),
  },
  {
    needs: 'prefetch',
    holdsAt: ['nowhere'],
    method: 'POST',
    path: (subject) => `${imageOf(subject)}/prefetch`,
    body: () => ({ node: 'nowhere' }),
    answer: () => [404, 'NOT_FOUND'],
  },
  {
    needs: 'push',
    method: 'POST',
    path: (subject) => `${imageOf(subject)}/restore`,
    body: () => ({ version: 1, origin: 'nowhere' }),
    answer: () => [404, 'NOT_FOUND'],
  },
  { needs: 'registry', method: 'GET', path: (subject) => `${imageOf(subject)}/pins`, answer: () => [200] },
  {
    needs: 'registry',
    holdsAt: ['node1'],
    method: 'PUT',
    path: (subject) => `${imageOf(subject)}/pins/node1`,
    answer: () => [200],
  },
  {
    needs: 'registry',
    holdsAt: ['node2'],
    method: 'DELETE',
    path: (subject) => `${imageOf(subject)}/pins/node2`,
    answer: () => [404, 'NOT_FOUND'],
  },
  { needs: 'registry', method: 'GET', path: () => 'replication/queues', answer: () => [200] },
  { needs: 'registry', method: 'GET', path: () => 'replication/series', answer: () => [200] },
  { needs: 'login', method: 'GET', path: () => 'pushes', answer: () => [200] },
  { needs: 'registry', method: 'GET', path: () => 'pushes/hours', answer: () => [200] },
  { needs: 'registry', method: 'GET', path: () => 'pulls/hours', answer: () => [200] },
  {
    needs: 'registry',
    holdsAt: ['central'],
    method: 'DELETE',
    path: ({ exists }) => `replication/stores/${exists ? 'node1' : 'retired'}/locations`,
    answer: ({ exists }) => (exists ? [409, 'CONFLICT'] : [404, 'NOT_FOUND']),
  },
  ...QUEUE_ROUTES.map(([method, path, status, body]): Route => ({
    needs: 'registry',
    holdsAt: method === 'GET' ? undefined : ['node1'],
    method,
    path: () => `replication/queues/node1${path}`,
    body: () => body,
    answer: () => [status],
  })),
  ...QUEUE_ROUTES.map(([method, path, , body]): Route => ({
    needs: 'registry',
    method,
    path: () => `replication/queues/nowhere${path}`,
    body: () => body,
    answer: () => [404, 'NOT_FOUND'],
  })),
];
