import { OciError } from '../../oci/errors.ts';
import type { Page, PageRequest } from '../../registry/registry.ts';
import type { AppContext } from '../context.ts';
import { wholeNumber } from '../whole-number.ts';

/** The default and the greatest number of items on a page. */
export const MAX_PAGE = 1000;

/**
 * Parses `n` and `last` (distribution-spec, "Listing Tags"). An empty `n` counts as absent; an `n` above `most` becomes
 * `most`. `upstream=true` asks the upstream of a mirror.
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
  return { limit, after: c.req.query('last') ?? '', fromUpstream: c.req.query('upstream') === 'true' };
}

/** Returns the Link to the next page, with the named parameters of this request; no header on the last page. */
export function linkToNext(
  c: AppContext,
  path: string,
  page: Page<unknown>,
  { limit }: PageRequest,
  parameters: readonly string[] = ['artifactType', 'upstream'],
): Record<string, string> {
  if (page.last === undefined || limit === 0) return {};
  const query = new URLSearchParams({ n: String(limit), last: page.last });
  for (const name of parameters) {
    const value = c.req.query(name);
    if (value !== undefined) query.set(name, value);
  }
  return { Link: `<${path}?${query.toString()}>; rel="next"` };
}
