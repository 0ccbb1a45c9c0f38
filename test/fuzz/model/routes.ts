/**
 * The resource that a path of the OCI API names. Its last segments decide, because a repository's name may contain any
 * words.
 */

export type Target =
  | { readonly kind: 'ping' | 'catalog' | 'nothing'; readonly name: ''; readonly item: '' }
  | {
      readonly kind: 'tags' | 'uploads' | 'manifest' | 'blob' | 'referrers' | 'session';
      readonly name: string;
      /** The reference, digest or session; '' if the resource has none. */
      readonly item: string;
    };

const NOTHING = { kind: 'nothing', name: '', item: '' } as const;

/** @param pathname of a parsed URL, whose dot segments are resolved */
export function targetOf(pathname: string, method: string): Target {
  const [empty, version, ...segments] = pathname.split('/').map(decodeOnce);
  if (empty !== '' || version !== 'v2') return NOTHING;
  if (segments.length === 0 || (segments.length === 1 && segments[0] === ''))
    return { kind: 'ping', name: '', item: '' };
  if (segments.length === 1 && segments[0] === '_catalog') return { kind: 'catalog', name: '', item: '' };
  return ofRepository(segments, method);
}

function ofRepository(segments: readonly string[], method: string): Target {
  const [third, second, last] = [segments.at(-3), segments.at(-2) ?? '', segments.at(-1) ?? ''];
  const nameBefore = (count: number): string => segments.slice(0, -count).join('/');
  if (third === 'blobs' && second === 'uploads' && segments.length > 3) {
    const name = nameBefore(3);
    return last === '' ? { kind: 'uploads', name, item: '' } : { kind: 'session', name, item: last };
  }
  const name = nameBefore(2);
  if (segments.length <= 2 || name === '' || last === '') return NOTHING;
  // The spec's path ends with a slash, which clients leave out. For all other methods, `uploads` is a digest.
  if (second === 'blobs' && last === 'uploads' && method === 'POST') return { kind: 'uploads', name, item: '' };
  if (second === 'tags' && last === 'list') return { kind: 'tags', name, item: '' };
  if (second === 'manifests') return { kind: 'manifest', name, item: last };
  if (second === 'referrers') return { kind: 'referrers', name, item: last };
  if (second === 'blobs') return { kind: 'blob', name, item: last };
  return NOTHING;
}

/** Decodes percent-encoding once. Bytes that are not UTF-8 stay encoded, which is invalid in any name. */
function decodeOnce(segment: string): string {
  return segment.replaceAll(/(?:%[0-9A-Fa-f]{2})+/g, (encoded) => {
    try {
      return decodeURIComponent(encoded);
    } catch {
      return encoded;
    }
  });
}

/** The methods of each resource (distribution-spec, "Endpoints"). */
const METHODS: Readonly<Record<Target['kind'], readonly string[]>> = {
  ping: ['GET', 'HEAD'],
  catalog: ['GET', 'HEAD'],
  tags: ['GET', 'HEAD'],
  referrers: ['GET', 'HEAD'],
  manifest: ['GET', 'HEAD', 'PUT', 'DELETE'],
  blob: ['GET', 'HEAD', 'DELETE'],
  uploads: ['POST'],
  session: ['GET', 'HEAD', 'PATCH', 'PUT', 'DELETE'],
  nothing: [],
};

export function hasMethod({ kind }: Target, method: string): boolean {
  return METHODS[kind].includes(method);
}
