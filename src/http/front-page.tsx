/** The answer of a registry's host at `/`. It runs no script and sets no cookie. */
import { raw } from 'hono/html';
import { accepts } from 'hono/accepts';
import type { AppContext } from './context.ts';
import { reachableHost } from './reachable-host.ts';

/** Tells people what the host is, as a page in a browser and as text elsewhere. */
export function frontPage(c: AppContext): Response | Promise<Response> {
  const url = c.get('url');
  const commands = `Log in:  docker login ${url.host}
Push:    docker push ${url.host}/<organization>/<name>:<tag>
`;
  const type = accepts(c, {
    header: 'Accept',
    supports: ['text/plain', 'text/html'],
    default: 'text/plain',
  });
  if (type === 'text/plain') return c.text(`Berth, an OCI registry.\n\n${commands}`);
  const consoleHost = reachableHost(c.get('runtime').config.consoleHosts, url.hostname);
  c.header('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'");
  return c.html(
    <>
      {raw('<!doctype html>')}
      <html lang="en">
        <head>
          <meta charset="utf-8" />
          <meta name="viewport" content="width=device-width, initial-scale=1" />
          <title>Berth, an OCI registry</title>
        </head>
        <body>
          <h1>Berth, an OCI registry</h1>
          <pre>{commands}</pre>
          {consoleHost !== undefined && (
            <p>
              Images, use and settings are in <a href={`${url.protocol}//${consoleHost}/`}>the console</a>.
            </p>
          )}
        </body>
      </html>
    </>,
  );
}
