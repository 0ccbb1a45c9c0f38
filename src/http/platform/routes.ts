/** The platform's images API, which Unikraft Cloud's clients call, one file per resource. See docs/platform-api.md. */
import { Hono } from 'hono';
import type { AppEnv } from '../context.ts';
import { authenticatePlatformCaller } from './caller.ts';
import { harborRoutes } from './harbor.ts';
import { imageRoutes } from './images.ts';
import { imagesListRoutes } from './images-list.ts';
import { whoRoutes } from './who.ts';

/** Returns the routes. Mount them before the management API, whose rules for `/api/` do not apply to `/api/v2.0/`. */
export function platformRoutes(): Hono<AppEnv> {
  const platform = new Hono<AppEnv>();
  platform.use('/v1/*', authenticatePlatformCaller);
  platform.use('/api/v2.0/*', authenticatePlatformCaller);
  imageRoutes(platform);
  imagesListRoutes(platform);
  whoRoutes(platform);
  harborRoutes(platform);
  for (const rest of ['/v1/*', '/api/v2.0/*']) platform.all(rest, (c) => c.notFound());
  return platform;
}
