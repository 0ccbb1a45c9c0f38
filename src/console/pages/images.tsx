/** The repositories that the reader may pull from. */
import { Hono } from 'hono';
import type { FC } from 'hono/jsx';
import { Next, Table } from '../components.tsx';
import type { ConsoleEnv, SignedIn } from '../context.ts';
import { FormFields } from '../form.ts';
import { Form, Page } from '../layout.tsx';
import { apiOrganization, repositoryPath } from '../paths.ts';

const ON_PAGE = 50;

export function imagesPages(): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();
  pages.get('/images', async (c) => {
    const reader = c.get('reader');
    const prefix = c.req.query('prefix') ?? '';
    const last = c.req.query('last') ?? before(prefix);
    const { repositories } = await reader.registry.get<{ repositories: string[] }>('/v2/_catalog', {
      n: ON_PAGE,
      last,
    });
    const found = repositories.filter((name) => name.startsWith(prefix));
    const isFull = repositories.length === ON_PAGE && found.length === repositories.length;
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
              hx-target="#repositories"
              hx-select="#repositories"
              hx-swap="outerHTML"
            />
          </label>
          <button type="submit">Search</button>
        </form>
        <div id="repositories">
          <Table
            caption="Repositories"
            columns={['Repository']}
            rows={found.map((name) => [<a href={repositoryPath(name)}>{name}</a>])}
            empty={
              prefix === ''
                ? 'There is no repository yet that you may pull from. A push creates one.'
                : `No repository that you may pull from starts with “${prefix}”.`
            }
          />
          <Next path="/images" query={{ prefix }} last={isFull ? found.at(-1) : undefined} />
        </div>
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

/**
 * Returns a text that sorts before every name with the prefix, and after every other name before them. No character of
 * a name sorts after "~".
 */
function before(prefix: string): string {
  if (prefix === '') return '';
  const end = prefix.charCodeAt(prefix.length - 1);
  return `${prefix.slice(0, -1)}${String.fromCharCode(end - 1)}~`;
}
