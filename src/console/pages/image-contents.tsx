/** The contents of one part of an image: its manifest, or a layer that is a document, such as an SBOM. */
import { Hono } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { inUnits } from '../components.tsx';
import type { ConsoleEnv } from '../context.ts';
import { Page } from '../layout.tsx';
import { ACCEPT, readManifest } from '../manifest.ts';
import { imagePath, imageRoute, splitImage, titleOf } from '../paths.ts';
import { MAX_READABLE_BYTES, readable } from '../readable.ts';
import type { RegistryClient } from '../registry-client.ts';

export function imageContentsPages(): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();
  pages.get(imageRoute('/contents'), async (c) => {
    const reader = c.get('reader');
    const { registry } = reader;
    const { repository, reference } = splitImage(c.req.param('image') ?? '');
    const digest = c.req.query('digest');
    const path = await pathOf(registry, repository, reference, digest);
    const { text: stored } = await registry.textUpTo(MAX_READABLE_BYTES, path, { Accept: ACCEPT }, c.env.makeRoom);
    const text = stored === undefined ? undefined : readable(stored);
    const title = titleOf(repository, reference);
    return c.html(
      <Page title={`Contents of ${title}`} reader={reader} section="/images">
        <p>
          <a href={imagePath(repository, reference)}>{title}</a>
          {digest !== undefined && (
            <>
              {' '}
              <code>{digest}</code>
            </>
          )}
        </p>
        {text === undefined ? (
          <p class="empty">
            {stored === undefined
              ? `This is larger than ${inUnits(MAX_READABLE_BYTES)}, so it is not shown. Read it with:`
              : 'This is not text, so it is not shown. Download it with:'}{' '}
            <code>{commandFor(reader.caller.registries[0]?.host ?? '', repository, reference, digest)}</code>
          </p>
        ) : (
          <pre tabindex={0}>{text}</pre>
        )}
      </Page>,
    );
  });
  return pages;
}

/**
 * Returns the path of a part. Only parts of the image are shown, so that a link can name no other blob.
 * @param part its digest; undefined for the manifest
 */
async function pathOf(
  registry: RegistryClient,
  repository: string,
  reference: string,
  part: string | undefined,
): Promise<string> {
  if (part === undefined) return `/v2/${repository}/manifests/${reference}`;
  const { shown } = await readManifest(registry, repository, reference);
  const parts = [shown?.config, ...(shown?.layers ?? [])];
  if (parts.some((each) => each?.digest === part)) return `/v2/${repository}/blobs/${part}`;
  throw new HTTPException(404, { message: `${titleOf(repository, reference)} does not list ${part}` });
}

function commandFor(host: string, repository: string, reference: string, digest: string | undefined): string {
  return digest === undefined
    ? `crane manifest ${host}/${titleOf(repository, reference)}`
    : `crane blob ${host}/${repository}@${digest}`;
}
