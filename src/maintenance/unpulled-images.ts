/**
 * Deletes images of mirrors that nobody has pulled for `expires_seconds`. These are images that the mirror itself has
 * stored, under tags, so the upstream can give them again. Central makes the deletion, as it does for a client. The
 * manifests that an index lists are deleted with it, unless something else needs them.
 */
import { HOUR } from '../durations.ts';
import { OciError } from '../oci/errors.ts';
import { covers } from '../registry/mirrored/coverage.ts';
import { deleteManifest } from '../stores/deletion/deletions.ts';
import { allMirrors } from '../stores/organizations/mirrors.ts';
import type { Task } from './round.ts';
import { answerOf } from './stopped.ts';
import { type ImagePosition, imagesAfter, listedBy, neededAmong } from './unpulled-image-rows.ts';

/** Manifests that one slice looks at. */
const MANIFESTS = 50;
/** Images that one slice deletes. */
const IMAGES = 5;
/** The most manifests that are deleted with their index. If it lists more, only the index is deleted. */
const LISTED = 50;

interface Position {
  readonly organization: string;
  readonly after?: ImagePosition;
}

export const unpulledImages: Task = {
  name: 'mirrors',
  at: 'central',
  every: () => HOUR,
  async slice({ nodes, now, limits }, { name, database }, { position }) {
    const { organization, after }: Position = position === '' ? { organization: '' } : JSON.parse(position);
    const mirrors = (await allMirrors(database)).filter(({ expires }) => expires !== Infinity);
    const mirror = mirrors.find((each) =>
      after === undefined ? each.organization > organization : each.organization === organization,
    );
    const next = (from: Position): string => JSON.stringify(from);
    if (mirror === undefined) return { position: after === undefined ? undefined : next({ organization }) };
    const since = now() - mirror.expires;
    const page = await imagesAfter(database, mirror.organization, mirror.from, after, MANIFESTS);
    const unused = page
      .filter((image) => image.may_go === 1 && image.used_at < since && covers(mirror, image.repository))
      .slice(0, IMAGES);
    const context = { origin: name, announces: false, now: now(), limits };
    for (const root of unused) {
      const listed = await listedBy(database, root, LISTED);
      const image = [root, ...listed.filter((each) => each.may_go === 1 && each.used_at < since)];
      const needed = new Set<string>();
      for (const node of nodes) {
        const found = await answerOf(`the database of ${node.name}`, neededAmong(node.database, image, since));
        for (const { digest } of found) needed.add(digest);
      }
      if (needed.has(root.digest)) continue;
      for (const { repository, digest } of image)
        if (!needed.has(digest)) await deleteManifest(database, context, repository, digest).catch(unlessInUse);
    }
    // The next slice looks again at the images beyond those that this one took.
    const last = unused.length === IMAGES ? unused.at(-1) : page.at(-1);
    const isWhole = unused.length < IMAGES && page.length < MANIFESTS;
    if (isWhole || last === undefined) return { position: next({ organization: mirror.organization }) };
    const { repository, digest } = last;
    return { position: next({ organization: mirror.organization, after: { repository, digest } }) };
  },
};

/** An index may have come to list the manifest since. */
function unlessInUse(error: unknown): void {
  if (!(error instanceof OciError) || error.kind !== 'MANIFEST_IN_USE') throw error;
}
