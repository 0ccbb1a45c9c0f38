/**
 * Removes secrets from the path of a request before it is logged, however the client encoded them and whether or not a
 * route matches. A client that builds a path wrongly can put its upload session's reference where no route expects it.
 */

/** The most layers of encoding that are undone in a path: more than clients and proxies add by mistake. */
const LAYERS = 8;

/** An upload session's reference: the log keeps its id and drops the rest, which holds a signature. */
const SESSION = /(\/blobs\/uploads\/[0-9a-f-]{0,36}).*/s;

/**
 * Runs that may be signatures, tokens or generated secrets: 256 bits or more in base64url. A run only counts if it has
 * upper case, which names and digests never have.
 */
const LONG = /[\w-]{40,}/g;
const UPPER_CASE = /[A-Z]/;

/** Matches every path that may hold a secret. Most paths need no further look. */
const MAY_HAVE_SECRETS = /[%A-Z]|\/blobs\/uploads\//;

/** Returns the path without secrets. @param path as the router has it, or a part of it with its own log field */
export function loggedPath(path: string): string {
  if (!MAY_HAVE_SECRETS.test(path)) return path;
  let decoded = path;
  for (let i = 0; i < LAYERS && decoded.includes('%'); i++) decoded = decodedOnce(decoded);
  const shown = decoded.replace(SESSION, '$1').replaceAll(LONG, (run) => (UPPER_CASE.test(run) ? '…' : run));
  return shown === decoded ? path : shown;
}

/** Undoes one layer of percent-encoding. Bytes that are not UTF-8 stay encoded. */
function decodedOnce(text: string): string {
  return text.replaceAll(/(?:%[\dA-Fa-f]{2})+/g, (encoded) => {
    try {
      return decodeURIComponent(encoded);
    } catch {
      return encoded;
    }
  });
}
