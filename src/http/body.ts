/**
 * Reads whole request bodies into memory. Their bytes are on loan from the isolate's budget until the request has been
 * answered.
 */
import { createMiddleware } from 'hono/factory';
import { OciError } from '../oci/errors.ts';
import type { OrganizationName } from '../oci/reference.ts';
import { BUDGET_BYTES, BufferedBody, COPIES_OF_DOCUMENT, isolateBudget, STEP_BYTES } from '../registry/buffering.ts';
import type { Body } from '../registry/registry.ts';
import type { AppContext, AppEnv } from './context.ts';
import { wholeNumber } from './whole-number.ts';

/**
 * Returns the request's body without reading it, or undefined if there is none.
 * @param owner the organization whose share of the budget the body uses; undefined for none
 * @throws OciError SIZE_INVALID
 */
export function bodyOf(request: Request, owner?: OrganizationName): Body | undefined {
  const header = request.headers.get('Content-Length');
  const length = header === null ? undefined : wholeNumber(header);
  if (header !== null && length === undefined)
    throw new OciError('SIZE_INVALID', { message: 'Content-Length must be a number of bytes' });
  return request.body === null || length === 0 ? undefined : { stream: request.body, length, owner };
}

/** The size of the first buffer. Most documents fit into it. */
const FIRST_BYTES = 4096;

interface Whole {
  /** The most bytes that the body may have. */
  readonly limit: number;
  readonly tooLarge: 'MANIFEST_TOO_LARGE' | 'BODY_TOO_LARGE';
  /** Bytes of the budget that must stay free for others. */
  readonly reserve: number;
  readonly owner?: OrganizationName;
}

/** The bodies that requests hold in memory. */
const held = new WeakMap<AppContext, BufferedBody>();

/** Returns the loan for the request's body to the budget. Call it once the request has been answered. */
export function releaseBody(c: AppContext): void {
  held.get(c)?.close();
}

/**
 * Reads a body of at most `limit` bytes, and holds it until the request has been answered.
 * @throws OciError MANIFEST_TOO_LARGE, without reading further; UNAVAILABLE if there is no room; CLIENT_GONE,
 *   BODY_STALLED
 */
export function readManifestBody(
  c: AppContext,
  limit: number,
  owner: OrganizationName,
): Promise<Uint8Array<ArrayBuffer>> {
  return readWhole(c, { limit, tooLarge: 'MANIFEST_TOO_LARGE', reserve: 0, owner });
}

/** The most bytes of a form or a JSON document. */
const SMALL_LIMIT = 64 * 1024;

/**
 * Reads a form or a JSON document from a caller who has logged in.
 * @throws OciError BODY_TOO_LARGE, SIZE_INVALID, and the errors of {@link readManifestBody} that are not about sizes
 */
export function readSmallBody(c: AppContext): Promise<Uint8Array<ArrayBuffer>> {
  return readWhole(c, { limit: SMALL_LIMIT, tooLarge: 'BODY_TOO_LARGE', reserve: 0 });
}

/**
 * Like {@link readSmallBody}, but for a caller who has not logged in. Keeps half of the budget free for those who have.
 */
export function readBodyOfAnybody(c: AppContext): Promise<Uint8Array<ArrayBuffer>> {
  return readWhole(c, { limit: SMALL_LIMIT, tooLarge: 'BODY_TOO_LARGE', reserve: BUDGET_BYTES / 2 });
}

/**
 * Reads the body before the handlers run, so that they find it in memory. An empty body counts as none, whatever its
 * headers say.
 */
export const smallBodiesOnly = createMiddleware<AppEnv>(async (c, next) => {
  c.req.raw = await withSmallBody(c);
  await next();
});

/** Returns the request with its body in memory. @throws the errors of {@link readSmallBody} */
export async function withSmallBody(c: AppContext): Promise<Request> {
  const { raw } = c.req;
  const isOfCaller = Object.hasOwn(c.var, 'caller');
  const bytes = await (isOfCaller ? readSmallBody(c) : readBodyOfAnybody(c));
  const headers = new Headers(raw.headers);
  if (bytes.byteLength === 0) headers.delete('Content-Type');
  // No handler reads the body of a GET.
  const isKept = bytes.byteLength > 0 && raw.method !== 'GET' && raw.method !== 'HEAD';
  return new Request(raw.url, { method: raw.method, headers, body: isKept ? bytes : null });
}

async function readWhole(c: AppContext, { limit, tooLarge, reserve, owner }: Whole): Promise<Uint8Array<ArrayBuffer>> {
  const body = bodyOf(c.req.raw, owner);
  if (body === undefined) return new Uint8Array(0);
  if (body.length !== undefined && body.length > limit) throw new OciError(tooLarge, { detail: { limit } });
  const most = body.length ?? limit + 1;
  const sizes = [FIRST_BYTES, STEP_BYTES].filter((size) => size < most);
  const buffered = new BufferedBody(body.stream, isolateBudget, {
    sizes: [...sizes, most],
    least: most,
    reserve,
    givesWay: false,
    failsWhenSlow: true,
    copies: 1,
    owner,
  });
  held.set(c, buffered);
  const bytes = (await buffered.read()) ?? new Uint8Array(0);
  if (bytes.byteLength > limit) throw new OciError(tooLarge, { detail: { limit } });
  await buffered.hold(bytes, COPIES_OF_DOCUMENT);
  return bytes;
}
