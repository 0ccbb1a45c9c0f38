/** The repositories that the matrix asks for: every visibility, with and without what is asked for. */
export interface Target {
  readonly name: string;
  readonly visibility: 'private' | 'public' | 'official';
  /**
   * `whole`: the tag, the manifest, the blob and the upload session that are asked for exist. `empty`: the repository
   * alone. `absent`: not even that.
   */
  readonly state: 'whole' | 'empty' | 'absent';
}

/** Names of one organization and visibility are equally long: answers to those who may not know must be equal. */
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
 * The host that is asked, and the store that all content is in. Another store that the host has knows who may do what,
 * and nothing else.
 */
export interface Place {
  readonly host: 'central' | 'node1';
  readonly store: 'central' | 'node1';
}

export const AT_CENTRAL: Place = { host: 'central', store: 'central' };
/** Pushed to the node, and not yet announced. */
export const AT_NODE: Place = { host: 'node1', store: 'node1' };
/** Pushed to central, asked for at a node that has nothing of it. */
export const AFAR: Place = { host: 'node1', store: 'central' };

/** What is asked for of a host: at nodes no second of what differs by its name alone. */
export function repositoriesOf({ host }: Place): readonly Target[] {
  return host === 'central' ? REPOSITORIES : REPOSITORIES.filter(({ name }) => !ALIKE.has(name));
}

const ALIKE = new Set(['alice/vacant', 'alice/team/none', 'official/none']);

/** Where blobs to mount lie. */
export const SOURCES = { own: 'alice/source', foreign: 'bob/secret', public: 'bob/public' } as const;

export function organizationOf(repository: string): string {
  return repository.slice(0, repository.indexOf('/'));
}
