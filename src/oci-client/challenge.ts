/** `WWW-Authenticate` (RFC 9110 §11.6.1), as registries send it. */

export type Challenge =
  | { readonly scheme: 'basic' }
  | {
      readonly scheme: 'bearer';
      readonly realm: URL;
      readonly service: string | undefined;
    };

const SCHEME = /(?:^|,\s*)(basic|bearer)(?=\s|$)/gi;
const PARAMETER = /([a-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))/gi;

/**
 * Parses the header. If it has several challenges, Bearer counts.
 * @param registry resolves a relative realm
 * @returns undefined if it has no challenge that this client can meet
 */
export function parseChallenge(header: string | null, registry: URL): Challenge | undefined {
  if (header === null) return undefined;
  const found = [...header.matchAll(SCHEME)];
  const bearer = found.find(([, scheme]) => scheme?.toLowerCase() === 'bearer');
  if (bearer === undefined) return found.length === 0 ? undefined : { scheme: 'basic' };
  const next = found[found.indexOf(bearer) + 1]?.index;
  const parameters = parametersIn(header.slice(bearer.index + bearer[0].length, next));
  const realm = parameters.get('realm');
  if (realm === undefined || !URL.canParse(realm, registry)) return undefined;
  return {
    scheme: 'bearer',
    realm: new URL(realm, registry),
    service: parameters.get('service'),
  };
}

function parametersIn(text: string): ReadonlyMap<string, string> {
  return new Map(
    [...text.matchAll(PARAMETER)].map(([, name = '', quoted, bare = '']) => [
      name.toLowerCase(),
      quoted?.replaceAll(/\\(.)/g, '$1') ?? bare,
    ]),
  );
}
