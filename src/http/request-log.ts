import { createMiddleware } from 'hono/factory';
import type { AppEnv } from './context.ts';

/**
 * Gives every request an id, which its response, its error bodies and its log line carry; and writes that line, as JSON.
 * The line names what was asked for, never what it was asked with: no header, no query, no body.
 */
export const requestLog = createMiddleware<AppEnv>(async (c, next) => {
  const started = Date.now();
  const requestId = c.req.header('cf-ray') ?? crypto.randomUUID();
  const fields: Record<string, string | number> = {};
  c.set('requestId', requestId);
  c.set('logFields', fields);
  await next();
  c.res.headers.set('X-Request-Id', requestId);
  const { method } = c.req;
  const path = withoutSignature(c.req.path);
  const { host } = new URL(c.req.url);
  console.log(JSON.stringify({ requestId, method, host, path, status: c.res.status, ms: Date.now() - started, ...fields }));
});

/** The reference of an upload session is signed: its id is enough for the log, however the rest is written. */
function withoutSignature(path: string): string {
  return path.replace(/(\/blobs\/uploads\/[0-9a-f-]{0,36}).*/, '$1');
}
