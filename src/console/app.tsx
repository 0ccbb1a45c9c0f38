/**
 * The console: pages that the Worker renders for browsers, on a host of their own. It reads and changes everything
 * through the APIs, as their client ({@link RegistryClient}), so it has no rule and no query of its own.
 */
import { Hono } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { logFailure } from '../log.ts';
import { OciError } from '../oci/errors.ts';
import { assetRoutes } from './assets.ts';
import type { ConsoleEnv } from './context.ts';
import { ErrorPage } from './error-page.tsx';
import { canonicalHost } from './host.ts';
import { auditPages } from './pages/audit.tsx';
import { differencePages } from './pages/difference.tsx';
import { historyPages } from './pages/history.tsx';
import { imageContentsPages } from './pages/image-contents.tsx';
import { imagePages } from './pages/image.tsx';
import { imagesPages } from './pages/images.tsx';
import { organizationPages } from './pages/organization.tsx';
import { overviewPages } from './pages/overview.tsx';
import { referencePages } from './pages/reference.tsx';
import { replicationPages } from './pages/replication.tsx';
import { repositoryPages } from './pages/repository.tsx';
import { signInPages } from './pages/sign-in.tsx';
import { storagePages } from './pages/storage.tsx';
import { RegistryError } from './registry-client.ts';
import { securityHeaders } from './security-headers.ts';
import { ownFormsOnly, signedInOnly } from './sign-in.ts';

export const consoleApp = new Hono<ConsoleEnv>();

consoleApp.onError((error, c) => {
  const isKnown = error instanceof RegistryError || error instanceof HTTPException || error instanceof OciError;
  const status = isKnown ? error.status : 500;
  const message = status === 500 ? 'something went wrong here: try again' : error.message;
  if (status === 500) logFailure({ console: c.req.path, cause: String(error) });
  c.status(status as 500);
  return c.html(<ErrorPage status={status} message={message} />);
});
consoleApp.notFound((c) => {
  c.status(404);
  return c.html(<ErrorPage status={404} message="there is no such page" />);
});

consoleApp.use(securityHeaders, canonicalHost, ownFormsOnly);
consoleApp.route('/', assetRoutes());
consoleApp.route('/', signInPages());
consoleApp.use(signedInOnly);
for (const pages of [
  overviewPages,
  imagesPages,
  repositoryPages,
  imagePages,
  imageContentsPages,
  historyPages,
  differencePages,
  organizationPages,
  replicationPages,
  storagePages,
  auditPages,
  referencePages,
])
  consoleApp.route('/', pages());
