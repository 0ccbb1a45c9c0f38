/** Helps to describe routes for the OpenAPI document. */
import { createRoute, type RouteConfig, type z } from '@hono/zod-openapi';
import { errorBody } from './schemas.ts';

type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

type Header = Readonly<
  Record<string, { readonly description: string; readonly schema: { readonly type: 'string' | 'integer' } }>
>;

const REQUEST_ID: Header = {
  'X-Request-Id': { description: 'The id of the request, as in its log line', schema: { type: 'string' } },
};
const RETRY_AFTER: Header = {
  'Retry-After': { description: 'Seconds to wait before the next attempt', schema: { type: 'integer' } },
};
const ALLOW: Header = { Allow: { description: 'The methods that the path supports', schema: { type: 'string' } } };
const CHALLENGE: Header = { 'WWW-Authenticate': { description: 'How to log in', schema: { type: 'string' } } };

interface Described {
  readonly description: string;
  readonly headers?: Header;
  /** Whether an operation can answer with it; all operations can by default. */
  readonly of?: (method: Method, request: Readonly<Record<string, unknown>>) => boolean;
}

const ERRORS: Readonly<Record<number, Described>> = {
  400: {
    description: 'A field is invalid. The message names it',
    of: (_, request) => Object.keys(request).length > 0,
  },
  401: { description: 'The credentials are missing or wrong', headers: CHALLENGE },
  403: { description: 'The credential may not do this' },
  404: {
    description: 'Something that the path or a field names does not exist',
    of: (_, request) => 'params' in request,
  },
  405: { description: 'The path does not support the method', headers: ALLOW },
  408: { description: 'The body stopped arriving' },
  409: { description: 'It already exists, or is still in use', of: (method) => method !== 'get' },
  413: { description: 'The body is larger than 64 KiB' },
  429: { description: 'Too many logins, prefetches or imports', headers: RETRY_AFTER },
  503: { description: 'A store does not answer, or the registry is not configured', headers: RETRY_AFTER },
};

export function json<Schema extends z.ZodType>(schema: Schema) {
  return { content: { 'application/json': { schema } } } as const;
}

export function body<Schema extends z.ZodType>(schema: Schema) {
  return { body: { ...json(schema), required: true } } as const;
}

/** Returns a route of the management API with the errors and headers that all routes share. */
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
