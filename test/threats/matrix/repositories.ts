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

/** Where blobs to mount lie. */
export const SOURCES = { own: 'alice/source', foreign: 'bob/secret', public: 'bob/public' } as const;

export function organizationOf(repository: string): string {
  return repository.slice(0, repository.indexOf('/'));
}
