/** The content that a run pushes: fresh names and bytes, so that runs can share stores. */
import type { Administration } from '../../src/auth/administration.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { OrganizationName, RepositoryName } from '../../src/oci/reference.ts';
import { contentDigest, type Image, imageOf, indexOf, subjectOf, utf8 } from '../support/fixture.ts';

export interface Content {
  readonly organization: OrganizationName;
  /** An organization without content, which is created and removed. */
  readonly otherOrganization: OrganizationName;
  readonly repositories: readonly RepositoryName[];
  readonly blobs: readonly { readonly digest: Digest; readonly bytes: Uint8Array<ArrayBuffer> }[];
  /** Three images, the last with the first as its subject, and an index of the first two. */
  readonly manifests: readonly Image[];
}

/** Position of the index in {@link Content.manifests}. */
export const INDEX = 3;

export async function contentOf(run: number): Promise<Content> {
  const organization = `run${run}` as OrganizationName;
  const blobs = await Promise.all(
    [0, 1, 2, 3].map(async (i) => {
      const bytes = utf8(`blob ${i} of run ${run}`);
      return { digest: await contentDigest(bytes), bytes };
    }),
  );
  const [a, b, c, d] = blobs.map(({ digest }) => digest) as [Digest, Digest, Digest, Digest];
  const first = await imageOf(a, [b]);
  const second = await imageOf(c, [b]);
  const subject = subjectOf(first);
  const third = await imageOf(d, [b], { subject, artifactType: 'application/x.test' });
  return {
    organization,
    otherOrganization: `other${run}` as OrganizationName,
    repositories: ['a', 'b'].map((name) => `${organization}/${name}` as RepositoryName),
    blobs,
    manifests: [first, second, third, await indexOf([first.digest, second.digest])],
  };
}

/** Returns a credential that may pull from all repositories of the organization. */
export function credential(
  organization: OrganizationName,
  name: string,
): Parameters<Administration['createCredential']>[0] {
  const repositories = [`${organization}/*`];
  return {
    kind: 'organization',
    organization,
    name,
    rights: ['pull'],
    repositories,
    registries: null,
    expiresAt: null,
  };
}
