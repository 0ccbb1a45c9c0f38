/** The repositories of the matrix: every visibility, with and without content. */
export interface Target {
  readonly name: string;
  readonly visibility: 'private' | 'public' | 'official';
  /**
   * `whole`: the tag, the manifest, the blob and the upload session of the requests exist. `empty`: only the repository
   * exists. `absent`: not even that.
   */
  readonly state: 'whole' | 'empty' | 'absent';
}

/** Refusals are compared only between repositories of the same visibility whose names are equally long. */
export const REPOSITORIES: readonly Target[] = [
  { name: 'alice/closed', visibility: 'private', state: 'whole' },
  { name: 'alice/vacant', visibility: 'private', state: 'empty' },
  { name: 'alice/absent', visibility: 'private', state: 'absent' },
  { name: 'alice/team/deep', visibility: 'private', state: 'whole' },
  { name: 'alice/team/none', visibility: 'private', state: 'absent' },
  { name: 'alice/open', visibility: 'public', state: 'whole' },
  { name: 'alice/bare', visibility: 'public', state: 'empty' },
  { name: 'official/base', visibility: 'official', state: 'whole' },
  { name: 'official/none', visibility: 'official', state: 'absent' },
];

/**
 * The host that is asked, and the store that holds all content. If the host knows another store, that has only the
 * control data.
 */
export interface Place {
  readonly host: 'central' | 'node1';
  readonly store: 'central' | 'node1';
}

export const AT_CENTRAL: Place = { host: 'central', store: 'central' };
/** Content was pushed to the node, and is not yet announced. */
export const AT_NODE: Place = { host: 'node1', store: 'node1' };
/** Content was pushed to central, and the node that is asked has none of it. */
export const REMOTE: Place = { host: 'node1', store: 'central' };

/** Returns the repositories to ask a host about: at nodes without those that differ from another only by name. */
export function repositoriesOf({ host }: Place): readonly Target[] {
  return host === 'central' ? REPOSITORIES : REPOSITORIES.filter(({ name }) => !ALIKE.has(name));
}

const ALIKE = new Set(['alice/vacant', 'alice/team/none', 'official/none']);

/** Repositories to mount blobs from. */
export const SOURCES = { own: 'alice/source', foreign: 'bob/secret', public: 'bob/public' } as const;

export function organizationOf(repository: string): string {
  return repository.slice(0, repository.indexOf('/'));
}
