/** The OCI distribution API, one file per resource. */
import { Hono } from 'hono';
import type { AppEnv } from '../context.ts';
import { authenticate } from '../authenticate.ts';
import { requireLogin } from '../access.ts';
import { blobRoutes } from './blobs.ts';
import { catalogRoutes } from './catalog.ts';
import { manifestRoutes } from './manifests.ts';
import { referrerRoutes } from './referrers.ts';
import { tagRoutes } from './tags.ts';
import { uploadRoutes } from './uploads.ts';

export function v2Routes(): Hono<AppEnv> {
  const v2 = new Hono<AppEnv>();
  v2.use('/v2/*', authenticate);
  // Clients decide by this answer whether to log in, so it challenges anonymous callers although some content is
  // public.
  v2.on('GET', ['/v2', '/v2/'], (c) => {
    requireLogin(c);
    return c.json({});
  });
  uploadRoutes(v2);
  manifestRoutes(v2);
  blobRoutes(v2);
  tagRoutes(v2);
  referrerRoutes(v2);
  catalogRoutes(v2);
  return v2;
}
