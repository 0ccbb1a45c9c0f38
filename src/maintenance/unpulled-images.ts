/**
 * Deletes images of mirrors that nobody has pulled for long, if their mirror says so: those that the mirror has stored
 * itself, under tags, and that the upstream could give again. A deletion is made at central, as a client would make it.
 * What an index lists goes with it, unless something else needs it.
 */
import { HOUR } from '../durations.ts';
import { OciError } from '../oci/errors.ts';
import { matchesGlob } from '../oci/glob.ts';
import { deleteManifest } from '../stores/deletion/deletions.ts';
import { allMirrors, type Mirror } from '../stores/organizations/mirrors.ts';
import type { Task } from './round.ts';
import { answerOf } from './stopped.ts';
import { type ImagePosition, imagesAfter, listedBy, neededAmong } from './unpulled-image-rows.ts';

/** Manifests that one slice looks at. */
const MANIFESTS = 50;
/** Images that one slice deletes. */
const IMAGES = 5;
/** Manifests that an index may list. With more, the index alone goes. */
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
      .filter((image) => image.may_go === 1 && image.used_at < since && covers(mirror, image))
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
    // Images beyond those that this slice took are looked at again.
    const last = unused.length === IMAGES ? unused.at(-1) : page.at(-1);
    const isWhole = unused.length < IMAGES && page.length < MANIFESTS;
    if (isWhole || last === undefined) return { position: next({ organization: mirror.organization }) };
    const { repository, digest } = last;
    return { position: next({ organization: mirror.organization, after: { repository, digest } }) };
  },
};

function covers({ organization, repositories }: Mirror, { repository }: ImagePosition): boolean {
  const name = repository.slice(organization.length + 1);
  return repositories.some((pattern) => matchesGlob(pattern, name));
}

/** An index may have come to list the manifest since. */
function unlessInUse(error: unknown): void {
  if (!(error instanceof OciError) || error.kind !== 'MANIFEST_IN_USE') throw error;
}
