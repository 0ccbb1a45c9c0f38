/** One repository: its tags with their states at each store, and the manifests without one. */
import { Hono } from 'hono';
import type { FC } from 'hono/jsx';
import type { ListedImage, PullsByHour, Repository, TagAtStores } from '../answers.ts';
import { NO_PULLS } from '../charts/pulls.tsx';
import { Bytes, counted, Digest, Facts, Live, Next, NotShown, State, Table, Time } from '../components.tsx';
import type { ConsoleEnv } from '../context.ts';
import { FormFields } from '../form.ts';
import { Action, Page } from '../layout.tsx';
import { DAY } from '../../durations.ts';
import { ifSoon, unless } from '../registry-client.ts';
import { apiRepository, imagePath, repositoryPath, repositoryRoute, withQuery } from '../paths.ts';
import { may } from '../rights.ts';
import { RepositoryActions } from './repository-actions.tsx';
import { TagStateCell, TagStateLegend } from '../tag-state.tsx';

const ON_PAGE = 100;
/** The hours of 30 days. */
const PULL_HOURS = 720;
const KINDS: Readonly<Record<ListedImage['kind'], string>> = { '': 'image', initrd: 'initrd', rom: 'ROM' };

interface TagsPage {
  readonly tags: readonly TagAtStores[];
  readonly stores: readonly { readonly store: string; readonly answers: boolean }[];
  readonly last: string | null;
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
        <p>This deletes all its tags and manifests, at every registry. Nobody can restore them.</p>
        <Action reader={reader} action={`${repositoryPath(repository)}/-/delete`} label={`Delete ${repository}`} />
        <a href={repositoryPath(repository)}>Cancel</a>
      </Page>,
    );
  });

  pages.post(repositoryRoute('/-/delete'), async (c) => {
    await c.get('reader').registry.change('DELETE', apiRepository(c.req.param('repository') ?? ''));
    return c.redirect('/images', 303);
  });

  pages.get(repositoryRoute('/-/untagged'), async (c) => {
    const reader = c.get('reader');
    const repository = c.req.param('repository') ?? '';
    const path = `${repositoryPath(repository)}/-/untagged`;
    const { images, last } = await reader.registry.get<{ images: ListedImage[]; last: string | null }>(
      `${apiRepository(repository)}/images`,
      { n: ON_PAGE, untagged: 'only', last: c.req.query('last') ?? '' },
    );
    return c.html(
      <Page title={`Untagged manifests of ${repository}`} reader={reader} section="/images">
        <p>
          <a href={repositoryPath(repository)}>{repository}</a>
        </p>
        <Table
          caption={`Untagged manifests of ${repository}`}
          columns={['Digest', 'Kind', 'Size', 'Pushed']}
          rows={images.map(({ digest, kind, size, created_at }) => [
            <Digest of={digest} href={imagePath(repository, digest)} />,
            KINDS[kind],
            <Bytes of={size} />,
            <Time at={created_at} />,
          ])}
          empty="Every manifest at central has a tag, or is part of an image that has one."
        />
        <Next path={path} query={{}} last={last} />
      </Page>,
    );
  });

  pages.get(repositoryRoute(), async (c) => {
    const reader = c.get('reader');
    const repository = c.req.param('repository') ?? '';
    const path = repositoryPath(repository);
    const last = c.req.query('last') ?? '';
    const asked = reader.registry.get<TagsPage>(`${apiRepository(repository)}/tags`, { last });
    const tags = unless(503, asked).then((answer) => answer ?? 'no answer');
    const administers = may(reader, 'administer', repository);
    const pullsOf = (): Promise<PullsByHour> =>
      reader.registry.get(`${apiRepository(repository)}/pulls/hours`, { hours: PULL_HOURS });
    // An open page refreshes its tags alone.
    const isWhole = c.req.header('HX-Request') === undefined;
    const [page, about, pulls] = await Promise.all([
      administers ? unless(403, tags) : tags,
      administers ? ifSoon(reader.registry.find<Repository>(apiRepository(repository))) : undefined,
      isWhole ? ifSoon(unless(403, pullsOf())) : undefined,
    ]);
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
            <RepositoryActions reader={reader} repository={about} />
          </>
        )}
        {page === undefined ? (
          <NotShown />
        ) : (
          <>
            <Live id="tags" path={withQuery(path, { last })}>
              {page === 'no answer' ? (
                <p class="problem">
                  Central does not answer. Only central knows what was removed, so no tags are shown.
                </p>
              ) : (
                <Tags repository={repository} page={page} />
              )}
            </Live>
            <Next path={path} query={{}} last={page === 'no answer' ? null : page.last} />
            <TagStateLegend />
            <h2>Pulls</h2>
            <PullFigures pulls={pulls} now={Date.now()} />
            <p>
              <a href={`${path}/-/untagged`}>Untagged manifests</a>
            </p>
          </>
        )}
      </Page>,
    );
  });
  return pages;
}

const PullFigures: FC<{ pulls: PullsByHour | undefined; now: number }> = ({ pulls, now }) => {
  if (pulls === undefined) return <p class="problem">Analytics Engine does not answer, so pulls are missing.</p>;
  if (!pulls.counted) return <p class="empty">{NO_PULLS}</p>;
  const since = (at: number): string =>
    counted(pulls.hours.reduce((sum, hour) => sum + (Date.parse(hour.at) > at ? hour.pulls : 0), 0));
  return (
    <Facts
      of={[
        ['In the last day', since(now - DAY)],
        ['In the last 30 days', since(0)],
      ]}
    />
  );
};

/** The tags. Only those that central has are links, because the page of an image asks central. */
const Tags: FC<{ repository: string; page: TagsPage }> = ({ repository, page: { tags, stores } }) => (
  <>
    {stores.some(({ answers }) => !answers) && (
      <p class="problem">A store does not answer, so tags that only it knows of are missing.</p>
    )}
    <Table
      caption={`Tags of ${repository}`}
      columns={['Tag', 'Digest', 'Kind', 'Platforms', 'Size', 'Pushed', 'Pulled', ...stores.map(({ store }) => store)]}
      stacks
      rows={tags.map(({ name, digest, kind, platforms, size, pushed_at, pulled_at, states }) => {
        const atCentral = states[0]?.state;
        const isThere = atCentral !== 'absent';
        return [
          isThere ? <a href={imagePath(repository, name)}>{name}</a> : name,
          <Digest
            of={digest}
            href={isThere && atCentral !== 'superseded' ? imagePath(repository, digest) : undefined}
          />,
          kind === null ? '' : KINDS[kind],
          platforms.join(', '),
          size === null ? <span class="faint">not known</span> : <Bytes of={size} />,
          <Time at={pushed_at} />,
          <Time at={pulled_at} />,
          ...states.map(({ state }, i) => <TagStateCell state={state} answers={stores[i]?.answers === true} />),
        ];
      })}
      empty="This repository has no tags, or does not exist."
    />
  </>
);
