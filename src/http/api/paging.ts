/** The parameters of a list: the number of items, and the item to start after. */
import { z } from '@hono/zod-openapi';
import { wholeNumber } from '../whole-number.ts';

/** The default and the greatest number of items on a page. */
const [PAGE, MAX_PAGE] = [100, 1000];

/** Returns the schema of `n`, the size of a page. */
export const pageSize = (most = MAX_PAGE) =>
  z
    .string()
    .default('')
    .transform((text, context) => {
      const size = text === '' ? Math.min(PAGE, most) : wholeNumber(text, most);
      if (size !== undefined && size >= 1) return size;
      context.addIssue({ code: 'custom', message: 'must be a whole number, 1 or more' });
      return z.NEVER;
    })
    .openapi({
      type: 'integer',
      minimum: 1,
      default: Math.min(PAGE, most),
      description: `Items per page. A number above ${most} counts as ${most}`,
    });

/** The field `last` of a page. */
export const lastOfPage = z
  .string()
  .nullable()
  .openapi({ description: 'Send it as `last` to get the next page; null on the last' });

export const pageQuery = z.object({
  n: pageSize(),
  last: z.string().default('').openapi({ description: 'Start after this name' }),
});
