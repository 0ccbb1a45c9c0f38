/** The OCI distribution API, one file per resource. */
import { Hono } from 'hono';
import { createMiddleware } from 'hono/factory';
import { OciError } from '../../oci/errors.ts';
import type { AppEnv } from '../context.ts';
import { authenticate } from '../authenticate.ts';
import { requireLogin } from '../access.ts';
import { blobRoutes } from './blobs.ts';
import { catalogRoutes } from './catalog.ts';
import { manifestRoutes } from './manifests.ts';
import { referrerRoutes } from './referrers.ts';
import { tagRoutes } from './tags.ts';
import { routeOf } from './target.ts';
import { uploadRoutes } from './uploads.ts';

/** Paths that exist, for the answer to a method that they do not have. */
const PATHS = [
  '/v2',
  '/v2/',
  '/v2/_catalog',
  routeOf('/manifests/:reference'),
  routeOf('/blobs/uploads/'),
  routeOf('/blobs/uploads/:session'),
  routeOf('/blobs/:digest'),
  routeOf('/tags/list'),
  routeOf('/referrers/:digest'),
];

/** Manifests come with the media type that they were pushed with, which can be that of a page: a browser runs nothing of it. */
const inert = createMiddleware<AppEnv>(async (c, next) => {
  await next();
  c.res.headers.set('Content-Security-Policy', "default-src 'none'; sandbox");
  c.res.headers.set('X-Content-Type-Options', 'nosniff');
});

export function v2Routes(): Hono<AppEnv> {
  const v2 = new Hono<AppEnv>();
  v2.use('/v2/*', inert, authenticate);
  // Anonymous callers are challenged even where public repositories exist: clients decide by this whether to log in.
  v2.on('GET', ['/v2', '/v2/'], (c) => {
    requireLogin(c);
    return c.json({}, 200, { 'Docker-Distribution-API-Version': 'registry/2.0' });
  });
  uploadRoutes(v2);
  manifestRoutes(v2);
  blobRoutes(v2);
  tagRoutes(v2);
  referrerRoutes(v2);
  catalogRoutes(v2);
  for (const path of PATHS) {
    v2.all(path, () => {
      throw new OciError('METHOD_UNSUPPORTED');
    });
  }
  return v2;
}
