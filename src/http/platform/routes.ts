/** The platform's images API, as Unikraft Cloud's clients call it, one file per resource. docs/platform-api.md */
import { Hono } from 'hono';
import { OciError } from '../../oci/errors.ts';
import type { AppEnv } from '../context.ts';
import { authenticatePlatformCaller } from './caller.ts';
import { harborRoutes } from './harbor.ts';
import { imageRoutes } from './images.ts';
import { imagesListRoutes } from './images-list.ts';
import { whoRoutes } from './who.ts';

/** Paths that exist, for the answer to a method that they do not have. */
const PATHS = [
  '/v1/images',
  '/v1/image-store',
  '/v1/images/list',
  '/v1/auth',
  '/api/v2.0/projects/:project/repositories/:name{.+}',
  '/api/v2.0/projects/:project/summary',
];

/** To be mounted before the management API, whose rules for `/api/` are not those of `/api/v2.0/`. */
export function platformRoutes(): Hono<AppEnv> {
  const platform = new Hono<AppEnv>();
  platform.use('/v1/*', authenticatePlatformCaller);
  platform.use('/api/v2.0/*', authenticatePlatformCaller);
  imageRoutes(platform);
  imagesListRoutes(platform);
  whoRoutes(platform);
  harborRoutes(platform);
  for (const path of PATHS) {
    platform.all(path, () => {
      throw new OciError('METHOD_UNSUPPORTED');
    });
  }
  for (const rest of ['/v1/*', '/api/v2.0/*']) {
    platform.all(rest, () => {
      throw new OciError('ROUTE_UNKNOWN', { message: 'there is nothing at this path: docs/platform-api.md says what is' });
    });
  }
  return platform;
}
