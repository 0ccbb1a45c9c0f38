/** The edge in front of a deployment, as the checks of large layers imitate it. */
import type { Front } from './front.ts';

const MEBIBYTE = 1024 ** 2;

/** The largest request body that Cloudflare's Free and Pro plans let through. */
export const EDGE_LIMIT = 100_000_000;
/** The value that Berth states in `OCI-Chunk-Max-Length`. */
export const CHUNK = 64 * MEBIBYTE;
/** Between two broken connections some 200 MB pass. */
export const BREAKS = { seed: 20_261_130, every: 200_000_000 };
/** The image `large`. */
const IMAGE_MEBIBYTES = 601;

/**
 * Says how much one push of the image `large` has sent.
 * @throws if the edge refused a body or broke no connection, or if more was sent again than the chunks that broke
 */
export function whatPassed(front: Front): string {
  if (front.refused.length > 0) throw new Error(`the edge refused ${front.refused.join()}`);
  if (front.largest() > CHUNK) throw new Error(`a body had ${front.largest()} bytes`);
  if (front.broken() === 0) throw new Error('the edge broke no connection');
  const mebibytes = Math.round(front.total() / MEBIBYTE);
  const most = IMAGE_MEBIBYTES + front.broken() * (CHUNK / MEBIBYTE);
  if (mebibytes > most) throw new Error(`${mebibytes} MiB were sent, with ${front.broken()} connections broken`);
  return `${mebibytes} MiB, ${front.broken()} connections broken`;
}
