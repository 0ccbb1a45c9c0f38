/** Shorthands for the descriptions of routes. */
import { createRoute, type RouteConfig, type z } from '@hono/zod-openapi';
import { errorBody } from './schemas.ts';

type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

type Header = Readonly<
  Record<string, { readonly description: string; readonly schema: { readonly type: 'string' | 'integer' } }>
>;

const REQUEST_ID: Header = {
  'X-Request-Id': { description: 'Of the request, as the log has it', schema: { type: 'string' } },
};
const RETRY_AFTER: Header = { 'Retry-After': { description: 'Seconds', schema: { type: 'integer' } } };
const ALLOW: Header = { Allow: { description: 'The methods that the path has', schema: { type: 'string' } } };
const CHALLENGE: Header = { 'WWW-Authenticate': { description: 'How to log in', schema: { type: 'string' } } };

interface Described {
  readonly description: string;
  readonly headers?: Header;
  /** Which operations it is of; all unless told. */
  readonly of?: (method: Method, request: Readonly<Record<string, unknown>>) => boolean;
}

const ERRORS: Readonly<Record<number, Described>> = {
  400: { description: 'A field is invalid: the message names it', of: (_, request) => Object.keys(request).length > 0 },
  401: { description: 'No or wrong credentials', headers: CHALLENGE },
  403: { description: 'The credential may not do this' },
  404: { description: 'There is no such thing', of: (_, request) => 'params' in request },
  405: { description: 'Of another method: the path does not have it', headers: ALLOW },
  408: { description: 'The body stopped arriving' },
  409: { description: 'It exists already, or is still in use', of: (method) => method !== 'get' },
  413: { description: 'The body has more than 64 KiB' },
  429: { description: 'Too many logins', headers: RETRY_AFTER },
  503: { description: 'A store does not answer, or the registry is not configured', headers: RETRY_AFTER },
};

export function json<Schema extends z.ZodType>(schema: Schema) {
  return { content: { 'application/json': { schema } } } as const;
}

export function body<Schema extends z.ZodType>(schema: Schema) {
  return { body: { ...json(schema), required: true } } as const;
}

/** A route of the management API, with the errors and headers that it shares with others. */
export function describe<
  const M extends Method,
  const P extends string,
  const Request extends NonNullable<RouteConfig['request']>,
  const Responses extends RouteConfig['responses'],
>(method: M, path: P, summary: string, request: Request, responses: Responses) {
  const security = [{ login: [] }, { bootstrap: [] }];
  return createRoute({ method, path, summary, request, responses: withShared(method, request, responses), security });
}

function withShared<Responses extends RouteConfig['responses']>(
  method: Method,
  request: object,
  responses: Responses,
): Responses {
  const errors = Object.entries(ERRORS).filter(([, { of }]) => of?.(method, { ...request }) !== false);
  const shown = Object.entries(responses).map(
    ([status, response]) => [status, { headers: REQUEST_ID, ...response }] as const,
  );
  const shared = errors.map(([status, { description, headers }]) => {
    return [status, { description, headers: { ...headers, ...REQUEST_ID }, ...json(errorBody) }] as const;
  });
  return Object.fromEntries([...shown, ...shared]) as Responses;
}
