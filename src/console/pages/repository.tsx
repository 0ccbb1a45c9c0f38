/** One repository: its tags, and the manifests without one. */
import { Hono } from 'hono';
import type { ListedImage, Repository } from '../answers.ts';
import { Bytes, Digest, Facts, Live, Next, NotShown, State, Table, Time } from '../components.tsx';
import type { ConsoleContext, ConsoleEnv } from '../context.ts';
import { FormFields } from '../form.ts';
import { Action, Page } from '../layout.tsx';
import { unless } from '../registry-client.ts';
import { apiRepository, imagePath, repositoryPath, repositoryRoute, withQuery } from '../paths.ts';

const ON_PAGE = 100;
const KINDS: Readonly<Record<ListedImage['kind'], string>> = { '': 'image', initrd: 'initrd', rom: 'ROM' };

interface Row extends Omit<ListedImage, 'tags'> {
  readonly tag: string | undefined;
  readonly at: string;
}

export function repositoryPages(): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();
  pages.post(repositoryRoute('/-/visibility'), async (c) => {
    const { registry } = c.get('reader');
    const repository = c.req.param('repository') ?? '';
    const visibility = (await FormFields.of(c)).text('visibility');
    await registry.change('PATCH', apiRepository(repository), { visibility });
    return c.redirect(repositoryPath(repository), 303);
  });

  pages.get(repositoryRoute('/-/delete'), (c) => {
    const reader = c.get('reader');
    const repository = c.req.param('repository') ?? '';
    return c.html(
      <Page title={`Delete ${repository}?`} reader={reader} section="/images">
        <p>All its tags and manifests go, at every registry. Tags of a deleted repository can't be restored.</p>
        <Action reader={reader} action={`${repositoryPath(repository)}/-/delete`} label={`Delete ${repository}`} />
        <a href={repositoryPath(repository)}>Keep it</a>
      </Page>,
    );
  });

  pages.post(repositoryRoute('/-/delete'), async (c) => {
    await c.get('reader').registry.change('DELETE', apiRepository(c.req.param('repository') ?? ''));
    return c.redirect('/images', 303);
  });

  pages.get(repositoryRoute(), async (c) => {
    const reader = c.get('reader');
    const repository = c.req.param('repository') ?? '';
    const query = { n: ON_PAGE, untagged: 'true', last: c.req.query('last') ?? '' };
    const images = reader.registry.get<{ images: ListedImage[]; last: string | null }>(
      `${apiRepository(repository)}/images`,
      query,
    );
    const [page, about] = await Promise.all([
      administers(c, repository) ? unless(403, images) : images,
      administers(c, repository) ? reader.registry.find<Repository>(apiRepository(repository)) : undefined,
    ]);
    const rows = page?.images.flatMap(({ tags, ...image }): Row[] =>
      tags.length === 0
        ? [{ ...image, tag: undefined, at: image.created_at }]
        : tags.map(({ name, pushed_at: at }) => ({ ...image, tag: name, at })),
    );
    const other = about?.visibility === 'public' ? 'private' : 'public';
    return c.html(
      <Page title={repository} reader={reader} section="/images">
        {about && (
          <>
            <Facts
              of={[
                ['Visibility', <State>{about.visibility}</State>],
                ['Created', <Time at={about.created_at} />],
              ]}
            />
            <Action
              reader={reader}
              action={`${repositoryPath(repository)}/-/visibility`}
              fields={{ visibility: other }}
              label={`Make ${other}`}
            />
            <p>
              <a href={`${repositoryPath(repository)}/-/delete`}>Delete this repository…</a>
            </p>
          </>
        )}
        {rows === undefined ? (
          <NotShown />
        ) : (
          <Live id="tags" path={withQuery(repositoryPath(repository), { last: query.last })}>
            <Table
              caption={`Tags of ${repository}`}
              columns={['Tag', 'Digest', 'Kind', 'Size', 'Pushed']}
              rows={rows.map(({ tag, digest, kind, size, at }) => [
                tag === undefined ? <span class="faint">no tag</span> : <a href={imagePath(repository, tag)}>{tag}</a>,
                <Digest of={digest} href={imagePath(repository, digest)} />,
                KINDS[kind],
                <Bytes of={size} />,
                <Time at={at} />,
              ])}
              empty="This repository has no images, or there is no such repository."
            />
          </Live>
        )}
        <Next path={repositoryPath(repository)} query={{}} last={page?.last} />
      </Page>,
    );
  });
  return pages;
}

/** Returns whether to show what only those see who administer the repository. The API decides about each change. */
function administers(c: ConsoleContext, repository: string): boolean {
  const { caller } = c.get('reader');
  if (caller.kind === 'administrator') return true;
  return caller.rights.includes('admin') && repository.startsWith(`${caller.organization}/`);
}
