/** Parses which images a request of the platform API asks for, and finds those that the caller may see. */
import { allows, type Credential, OFFICIAL_ORGANIZATION } from '../../auth/credential.ts';
import { listable } from '../../auth/listable.ts';
import { parseAnyDigest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { isOrganizationName, type OrganizationName, parseRepositoryName, parseTag } from '../../oci/reference.ts';
import type { Reference, RepositoryName } from '../../oci/reference.ts';
import type { ReadAccess } from '../../registry/access.ts';
import type { ListedImage, Page, PageRequest } from '../../registry/registry.ts';
import type { AppContext } from '../context.ts';
import { callerOf } from './caller.ts';
import { withoutHost } from './hosts.ts';

/** An image of a repository or, without a repository, every image with the tag or digest. */
export interface RequestedImage {
  readonly repository: RepositoryName | undefined;
  readonly reference: Reference;
}

interface ImageRequestedByDigest extends RequestedImage {
  readonly reference: Extract<Reference, { readonly kind: 'digest' }>;
}

/** Returns the organization that `?namespace=` names. @throws OciError PARAMETER_INVALID */
function namespaceAsked(c: AppContext): OrganizationName | undefined {
  const namespace = c.req.query('namespace');
  if (namespace === undefined || namespace === '') return undefined;
  if (isOrganizationName(namespace)) return namespace;
  throw new OciError('PARAMETER_INVALID', { message: 'the parameter namespace must be the name of an organization' });
}

/**
 * Parses `<repository>:<tag>`, or a tag alone. A repository without a tag means `latest`, as everywhere. If the text
 * also has a digest, the digest counts and the tag is ignored.
 * @throws OciError NAME_INVALID, TAG_INVALID, DIGEST_INVALID
 */
export function parseTagAsked(c: AppContext, text: string): RequestedImage {
  if (text.includes('@')) return parseDigestAsked(c, text);
  const name = withoutHost(c, text);
  if (!/[/:]/.test(name)) return { repository: undefined, reference: { kind: 'tag', tag: parseTag(name) } };
  const [repository, tag = 'latest'] = splitTag(name);
  return { repository: repositoryAsked(repository), reference: { kind: 'tag', tag: parseTag(tag) } };
}

/** Parses `<repository>@<digest>`, or a digest alone. @throws OciError NAME_INVALID, DIGEST_INVALID */
export function parseDigestAsked(c: AppContext, text: string): ImageRequestedByDigest {
  const name = withoutHost(c, text);
  const at = name.indexOf('@');
  return {
    repository: at < 0 ? undefined : repositoryAsked(splitTag(name.slice(0, at))[0]),
    reference: { kind: 'digest', digest: parseAnyDigest(name.slice(at + 1), 'the digest that is asked for') },
  };
}

function splitTag(name: string): [repository: string, tag?: string] {
  const colon = name.lastIndexOf(':');
  return colon > name.lastIndexOf('/') ? [name.slice(0, colon), name.slice(colon + 1)] : [name];
}

/** Parses a repository. kraft leaves out the organization of official images. @throws OciError NAME_INVALID */
function repositoryAsked(name: string): RepositoryName {
  return parseRepositoryName(name.includes('/') ? name : `${OFFICIAL_ORGANIZATION}/${name}`);
}

/**
 * Lists every image of the requested organization that the caller may pull.
 * @param withCentral whether a node also lists central's images
 * @throws OciError DENIED if there is nothing that the caller may pull
 */
export async function listAll(
  c: AppContext,
  withUntagged: boolean,
  withCentral: boolean,
  page: PageRequest,
): Promise<Page<ListedImage>> {
  const namespace = namespaceAsked(c);
  const scope = listable(callerOf(c), namespace);
  const found = await c.get('registry').listImages(scope, withUntagged, page, withCentral);
  if (scope.ranges.length === 0 && found.items.length === 0 && page.after === '')
    throw mayNotList(callerOf(c), namespace);
  return found;
}

/**
 * Finds the requested images.
 * @param withCentral whether a node also shows images that only central has
 * @throws OciError DENIED if it finds none and the caller may not pull from every named repository
 */
export async function find(
  c: AppContext,
  asked: readonly RequestedImage[],
  withCentral: boolean,
  page: PageRequest,
): Promise<Page<ListedImage>> {
  const named: { access: ReadAccess; reference: Reference }[] = [];
  for (const { repository, reference } of asked) {
    if (repository === undefined) {
      if (asked.length > 1)
        throw new OciError('FIELD_INVALID', { message: 'to ask for several images, name the repository of each' });
      const scope = listable(callerOf(c), namespaceAsked(c));
      return c.get('registry').listImagesOf(scope, reference, page);
    }
    const isGranted = allows(callerOf(c), 'pull', repository);
    named.push({ access: { repository, condition: isGranted ? 'granted' : 'if-public' }, reference });
  }
  const images = await c.get('registry').findImages(named, withCentral);
  const closed = named.find(({ access }) => access.condition === 'if-public');
  if (images.length === 0 && closed !== undefined) {
    throw new OciError('DENIED', { message: `this credential may not pull from ${closed.access.repository}` });
  }
  return { items: images, last: undefined };
}

function mayNotList(caller: Credential, namespace: OrganizationName | undefined): OciError {
  const of = namespace ?? (caller.kind === 'organization' ? caller.organization : 'any organization');
  return new OciError('DENIED', { message: `this credential may not list the images of ${of}` });
}
