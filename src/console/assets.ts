/** Style and scripts, served from the Worker's own bundle. */
import { Hono } from 'hono';
import htmx from 'htmx.org/dist/htmx.min.js' with { type: 'text' };
import page from './assets/page.js' with { type: 'text' };
import style from './assets/style.css' with { type: 'text' };
import type { ConsoleEnv } from './context.ts';

const CSS = 'text/css; charset=utf-8';
const SCRIPT = 'text/javascript; charset=utf-8';

const ASSETS: Readonly<Record<string, readonly [type: string, content: string]>> = {
  '/assets/htmx.js': [SCRIPT, htmx],
  '/assets/page.js': [SCRIPT, page],
  '/assets/style.css': [CSS, style],
};

export function assetRoutes(): Hono<ConsoleEnv> {
  const assets = new Hono<ConsoleEnv>();
  for (const [path, [type, content]] of Object.entries(ASSETS)) {
    const etag = hashOf(content);
    assets.get(path, async (c) => {
      const headers = { ETag: `"${await etag()}"`, 'Cache-Control': 'max-age=3600' };
      if (c.req.header('If-None-Match') === headers.ETag) return c.body(null, 304, headers);
      return c.body(content, 200, { ...headers, 'Content-Type': type });
    });
  }
  return assets;
}

/** Hashes when first asked, because a Worker may not compute hashes while it starts. */
function hashOf(content: string): () => Promise<string> {
  let hash: string | undefined;
  return async () => {
    hash ??= new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(content)))
      .slice(0, 12)
      .toHex();
    return hash;
  };
}
