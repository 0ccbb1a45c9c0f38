/** Lists of images at a node. By default they show what the node's own store has, and do not wait for central. */
import { OciError } from '../../oci/errors.ts';
import type { Reference } from '../../oci/reference.ts';
import { raiseClockTo, versionOf } from '../../stores/clock.ts';
import type { ListableRepositories } from '../access.ts';
import {
  distinctImages,
  imagesAmong,
  mergeImagePages,
  pageMadeOf,
  pageOfImages,
  pageOfImagesOf,
  rowsOfImages,
} from '../images/pages.ts';
import type { ListedImage, Page, PageRequest, Registry, WantedImages } from '../registry.ts';
import { answerOfCentral, type Federation, orUnavailable } from './central.ts';

export class FederatedImages implements Pick<Registry, 'listImages' | 'listImagesOf' | 'findImages'> {
  readonly #federation: Federation;

  constructor(federation: Federation) {
    this.#federation = federation;
  }

  async listImages(
    repositories: ListableRepositories,
    withUntagged: boolean,
    page: PageRequest,
    withCentral = false,
  ): Promise<Page<ListedImage>> {
    const { node, central } = this.#federation;
    if (!withCentral) return pageOfImages(node.database, repositories, withUntagged, page);
    const [local, remote] = await Promise.all([
      rowsOfImages(node.database, repositories, withUntagged, page),
      answerOfCentral(rowsOfImages(central.database, repositories, withUntagged, page)).catch(orUnavailable),
    ]);
    // A client that has pushed to the node may poll until its image is listed. That must also work without central.
    if (remote instanceof OciError) return pageMadeOf(local, page);
    const latest = [
      ...remote.tagged.map(({ version, created }) => Math.max(version, created)),
      ...remote.untagged.map(({ created }) => created),
    ];
    await this.#raiseClock(Math.max(0, ...latest));
    return pageMadeOf(mergeImagePages(local, remote, page), page);
  }

  listImagesOf(
    repositories: ListableRepositories,
    reference: Reference,
    page: PageRequest,
  ): Promise<Page<ListedImage>> {
    return pageOfImagesOf(this.#federation.node.database, repositories, reference, page);
  }

  async findImages(images: WantedImages, withCentral: boolean): Promise<readonly ListedImage[]> {
    const { node, central } = this.#federation;
    const local = await imagesAmong(node.database, images);
    const missing = withCentral ? images.filter((_, i) => local[i] === undefined) : [];
    if (missing.length === 0) return distinctImages(local);
    const remote = distinctImages(await answerOfCentral(imagesAmong(central.database, missing)));
    const seen = remote.flatMap(({ createdAt, tags }) => [createdAt, ...tags.map(({ pushedAt }) => pushedAt)]);
    // The last version of the latest millisecond is at least as great as any that was shown.
    await this.#raiseClock(versionOf(Math.max(0, ...seen) + 1) - 1);
    return distinctImages([...local, ...remote]);
  }

  /**
   * Raises the node's clock, so that what is written here from now on is later than what a client was shown of central.
   * @param version the greatest that the client was shown
   */
  #raiseClock(version: number): Promise<void> {
    const { node, options } = this.#federation;
    return raiseClockTo(node.database, version, options.now());
  }
}
