import { OciError } from '../../oci/errors.ts';
import type { Page, PageRequest } from '../../registry/registry.ts';
import type { AppContext } from '../context.ts';
import { wholeNumber } from '../whole-number.ts';

/** Items of a page where the client asks for none in particular, and the most that it gets. */
export const MAX_PAGE = 1000;

/**
 * `n` and `last` (distribution-spec, "Listing Tags"). An empty `n` is none; beyond `most` it is `most`.
 * @throws OciError PARAMETER_INVALID
 */
export function pageRequest(c: AppContext, most = MAX_PAGE): PageRequest {
  const n = c.req.query('n') ?? '';
  const limit = n === '' ? most : wholeNumber(n, most);
  if (limit === undefined) {
    throw new OciError('PARAMETER_INVALID', {
      message: 'the parameter n must be a whole number, 0 or more',
      detail: { n: n.slice(0, 50) },
    });
  }
  return { limit, after: c.req.query('last') ?? '' };
}

/** The Link to the next page, with the parameters of this one that are named; no header on the last. */
export function linkToNext(
  c: AppContext,
  path: string,
  page: Page<unknown>,
  { limit }: PageRequest,
  parameters: readonly string[] = ['artifactType'],
): Record<string, string> {
  if (page.last === undefined || limit === 0) return {};
  const query = new URLSearchParams({ n: String(limit), last: page.last });
  for (const name of parameters) {
    const value = c.req.query(name);
    if (value !== undefined) query.set(name, value);
  }
  return { Link: `<${path}?${query.toString()}>; rel="next"` };
}
