/** Shorthands for the descriptions of routes. */
import { createRoute, type RouteConfig, type z } from '@hono/zod-openapi';
import { errorBody } from './schemas.ts';

type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

const ERRORS = {
  400: 'A field is invalid: the message names it',
  401: 'No or wrong credentials',
  403: 'The credential may not do this',
  404: 'There is no such thing',
  409: 'It exists already, or is still in use',
  429: 'Too many logins',
} as const;

const errorResponses = Object.fromEntries(
  Object.entries(ERRORS).map(([status, description]) => [
    status,
    { description, content: { 'application/json': { schema: errorBody } } },
  ]),
);

export function json<Schema extends z.ZodType>(schema: Schema) {
  return { content: { 'application/json': { schema } } } as const;
}

export function body<Schema extends z.ZodType>(schema: Schema) {
  return { body: { ...json(schema), required: true } } as const;
}

/** A route of the management API, with the errors that all of them share. */
export function describe<
  const M extends Method,
  const P extends string,
  const Request extends NonNullable<RouteConfig['request']>,
  const Responses extends RouteConfig['responses'],
>(method: M, path: P, summary: string, request: Request, responses: Responses) {
  const security = [{ login: [] }, { bootstrap: [] }];
  return createRoute({ method, path, summary, request, responses: withErrors(responses), security });
}

function withErrors<Responses extends RouteConfig['responses']>(responses: Responses): Responses {
  return { ...responses, ...errorResponses };
}
