/**
 * The path of a request as the log may have it: without secrets, however the client has written them, and whether or
 * not the router knows the path. A client that builds a path wrongly puts its upload session's reference where no route
 * looks for one.
 */

/** Times that a path is decoded: more layers than any client or proxy adds by mistake. */
const LAYERS = 8;

/** The reference of an upload session is signed: its id is enough, however the rest is written. */
const SESSION = /(\/blobs\/uploads\/[0-9a-f-]{0,36}).*/s;

/** Signatures, tokens and generated secrets: 256 bits in base64url and more. Names and digests have no upper case. */
const LONG = /[\w-]{40,}/g;
const UPPER_CASE = /[A-Z]/;

/** @param path as the router has it, or a part of it that has a field of its own */
export function loggedPath(path: string): string {
  let decoded = path;
  for (let i = 0; i < LAYERS && decoded.includes('%'); i++) decoded = decodedOnce(decoded);
  const shown = decoded.replace(SESSION, '$1').replaceAll(LONG, (run) => (UPPER_CASE.test(run) ? '…' : run));
  return shown === decoded ? path : shown;
}

/** Undoes one layer of percent-encoding; what is not UTF-8 stays as it is. */
function decodedOnce(text: string): string {
  return text.replaceAll(/(?:%[\dA-Fa-f]{2})+/g, (encoded) => {
    try {
      return decodeURIComponent(encoded);
    } catch {
      return encoded;
    }
  });
}
