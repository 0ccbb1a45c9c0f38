/** The repositories that the reader may pull from. */
import { Hono } from 'hono';
import type { Child, FC } from 'hono/jsx';
import type { ListedRepository } from '../answers.ts';
import { Bytes, Live, Next, State, Table, Time } from '../components.tsx';
import type { ConsoleEnv, SignedIn } from '../context.ts';
import { FormFields } from '../form.ts';
import { LatestPushes, readLatestPushes } from '../latest-pushes.tsx';
import { Form, Page } from '../layout.tsx';
import { apiOrganization, repositoryPath } from '../paths.ts';
import { administers } from '../rights.ts';
import { RepositoryActions } from './repository-actions.tsx';

interface RepositoryList {
  readonly repositories: readonly ListedRepository[];
  readonly last: string | null;
  readonly complete: boolean;
}

/** The last column is for those who administer an organization. */
const COLUMNS = ['Repository', 'Visibility', 'Tags', 'Size', 'Last push', 'Last pull', 'Actions'];

export function imagesPages(): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();
  pages.get('/images', async (c) => {
    const reader = c.get('reader');
    const prefix = c.req.query('prefix') ?? '';
    const columns = administers(reader) ? COLUMNS : COLUMNS.slice(0, -1);
    const mayByPush = reader.caller.organization !== null;
    const sort = mayByPush && c.req.query('sort') === 'pushed' ? 'pushed' : 'name';
    const after = c.req.query('last') ?? '';
    // Administrators see them on the overview.
    const withPushes = reader.caller.kind !== 'administrator' && prefix === '' && after === '';
    const [{ repositories, last, complete }, latest] = await Promise.all([
      reader.registry.get<RepositoryList>('/api/repositories', { sort, prefix, last: after }),
      withPushes ? readLatestPushes(reader.registry) : undefined,
    ]);
    return c.html(
      <Page title="Images" reader={reader} section="/images">
        <form class="inline" role="search">
          <label>
            Name starts with
            <input
              name="prefix"
              type="search"
              value={prefix}
              hx-get="/images"
              hx-trigger="input changed delay:200ms"
              hx-include="closest form"
              hx-target="#repositories"
              hx-select="#repositories"
              hx-swap="outerHTML"
            />
          </label>
          {mayByPush && (
            <label>
              Order
              <select name="sort">
                <option value="name">name</option>
                <option value="pushed" selected={sort === 'pushed'}>
                  last push, of {reader.caller.organization}
                </option>
              </select>
            </label>
          )}
          <button type="submit">Search</button>
        </form>
        <div id="repositories">
          {!complete && <p class="problem">A store does not answer, so pulls from it are missing.</p>}
          <Table
            caption="Repositories"
            columns={columns}
            stacks
            rows={repositories.map((each) => cellsOf(reader, each).slice(0, columns.length))}
            empty={emptyText(prefix, last)}
          />
          <Next path="/images" query={{ prefix, sort }} last={last} />
        </div>
        {withPushes && (
          <Live id="pushes" path="/images">
            <LatestPushes latest={latest} />
          </Live>
        )}
        <Create reader={reader} />
      </Page>,
    );
  });

  pages.post('/images', async (c) => {
    const { registry, caller } = c.get('reader');
    const form = await FormFields.of(c);
    const [name, visibility] = [form.text('name'), form.text('visibility')];
    await registry.change('POST', `${apiOrganization(caller.organization ?? '')}/repositories`, { name, visibility });
    return c.redirect(repositoryPath(`${caller.organization ?? ''}/${name}`), 303);
  });
  return pages;
}

function cellsOf(reader: SignedIn, repository: ListedRepository): Child[] {
  const { name, visibility, tags, more_tags: hasMore, bytes, pushed_at: pushed, pulled_at: pulled } = repository;
  return [
    <a href={repositoryPath(name)}>{name}</a>,
    <State>{visibility}</State>,
    `${tags}${hasMore ? ' or more' : ''}`,
    bytes === null ? <span class="faint">not known</span> : <Bytes of={bytes} />,
    <Time at={pushed} />,
    <Time at={pulled} />,
    <RepositoryActions reader={reader} repository={repository} />,
  ];
}

/** A form that creates a repository of the organization that the reader administers. */
const Create: FC<{ reader: SignedIn }> = ({ reader }) => {
  const { organization, rights } = reader.caller;
  if (organization === null || !rights.includes('admin')) return <></>;
  return (
    <Form reader={reader} action="/images" class="inline">
      <label>
        New repository {organization}/
        <input name="name" required pattern="[a-z0-9][a-z0-9._\-\/]*" />
      </label>
      <label>
        Visibility
        <select name="visibility">
          <option value="private">private</option>
          <option value="public">public</option>
        </select>
      </label>
      <button type="submit">Create</button>
    </Form>
  );
};

function emptyText(prefix: string, last: string | null): string {
  if (last !== null) return 'You may not pull from any of the first repositories. The next page shows others.';
  return prefix === ''
    ? 'There is no repository yet that you may pull from. A push creates one.'
    : `No repository that you may pull from starts with “${prefix}”.`;
}
