/** Lists of tags and referrers: those of the registry beneath or, if the caller asks for them, of the upstream. */
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import type { Mirror } from '../../stores/organizations/mirrors.ts';
import type { ReadAccess } from '../access.ts';
import { nameUnknown } from '../answers.ts';
import type { MakeRoom, Page, PageRequest, Referrer, Registry } from '../registry.ts';
import { type Layer, mirrorIfKnown, requireAllowed } from './layer.ts';
import { covers } from './coverage.ts';

export class MirroredLists implements Pick<Registry, 'listTags' | 'listReferrers'> {
  readonly #layer: Layer;

  constructor(layer: Layer) {
    this.#layer = layer;
  }

  async listTags(access: ReadAccess, page: PageRequest): Promise<Page<Tag>> {
    const mirror = await this.#asked(access, page);
    if (mirror === undefined) return this.#layer.beneath.listTags(await this.#allowed(access), page);
    const found = await this.#layer.upstreams.listTags(mirror, access.repository, page);
    if (found === undefined) throw nameUnknown(access.repository);
    return found;
  }

  async listReferrers(
    access: ReadAccess,
    subject: Digest,
    artifactType: string | undefined,
    page: PageRequest,
    makeRoom?: MakeRoom,
  ): Promise<Page<Referrer>> {
    const mirror = await this.#asked(access, page);
    if (mirror === undefined)
      return this.#layer.beneath.listReferrers(await this.#allowed(access), subject, artifactType, page, makeRoom);
    return this.#layer.upstreams.listReferrers(mirror, access.repository, subject, artifactType, page);
  }

  /** Returns the access with which the registry beneath is read: anybody may pull from a public mirror. */
  async #allowed(access: ReadAccess): Promise<ReadAccess> {
    const mirror = access.condition === 'granted' ? undefined : await mirrorIfKnown(this.#layer, access.repository);
    return mirror?.isPublic === true ? { ...access, condition: 'granted' } : access;
  }

  /** Returns the mirror if the caller asks for its upstream's list; undefined for the list of stored content. */
  async #asked(access: ReadAccess, { fromUpstream = false }: PageRequest): Promise<Mirror | undefined> {
    const mirror = fromUpstream ? await mirrorIfKnown(this.#layer, access.repository) : undefined;
    if (mirror === undefined || !covers(mirror, access.repository)) return undefined;
    await requireAllowed(this.#layer, mirror, access);
    return mirror;
  }
}
