/**
 * Deletes images of mirrors that nobody has pulled for long, if their mirror says so. A deletion is made at central, as
 * a client would make it, and a pull brings the image again. The manifests that an index lists go after it.
 */
import { HOUR } from '../durations.ts';
import { OciError } from '../oci/errors.ts';
import { deleteManifest } from '../stores/deletion/deletions.ts';
import { allMirrors } from '../stores/organizations/mirrors.ts';
import type { Task } from './round.ts';
import { answerOf } from './stopped.ts';
import { type ImagePosition, imagesAfter, neededAmong } from './unpulled-image-rows.ts';

/** Manifests that one slice looks at. */
const MANIFESTS = 200;
/** Images that one slice deletes. */
const IMAGES = 10;

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
    const page = await imagesAfter(database, mirror.organization, after, MANIFESTS);
    const unused = page.filter((image) => image.is_root === 1 && image.used_at < since).slice(0, IMAGES);
    const needed = new Set<string>();
    for (const node of unused.length === 0 ? [] : nodes) {
      const found = await answerOf(`the database of ${node.name}`, neededAmong(node.database, unused, since));
      for (const image of found) needed.add(keyOf(image));
    }
    const context = { origin: name, announces: false, now: now(), limits };
    for (const image of unused) {
      if (needed.has(keyOf(image))) continue;
      await deleteManifest(database, context, image.repository, image.digest).catch(unlessInUse);
    }
    // Images beyond those that this slice took are looked at again.
    const last = unused.length === IMAGES ? unused.at(-1) : page.at(-1);
    const isWhole = unused.length < IMAGES && page.length < MANIFESTS;
    if (isWhole || last === undefined) return { position: next({ organization: mirror.organization }) };
    const { repository, digest } = last;
    return { position: next({ organization: mirror.organization, after: { repository, digest } }) };
  },
};

function keyOf({ repository, digest }: ImagePosition): string {
  return `${repository}@${digest}`;
}

/** An index may have come to list the manifest since. */
function unlessInUse(error: unknown): void {
  if (!(error instanceof OciError) || error.kind !== 'MANIFEST_IN_USE') throw error;
}
