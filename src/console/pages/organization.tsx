/** Organizations: what they use, and their credentials. */
import { Hono } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { FC } from 'hono/jsx';
import type {
  CreatedCredential,
  Credential,
  Mirror,
  MirrorStatus,
  Organization,
  RepositoriesUsage,
  Repository,
  Usage,
  UsageDays,
} from '../answers.ts';
import { RepositoriesTreemap } from '../charts/treemap.tsx';
import { UseOverTime } from '../charts/use.tsx';
import { Bytes, counted, Facts, inUnits, Next, Problem, State, Table, Time } from '../components.tsx';
import type { ConsoleContext, ConsoleEnv, SignedIn } from '../context.ts';
import { DAY } from '../../durations.ts';
import { FormFields } from '../form.ts';
import { Action, Form, Page } from '../layout.tsx';
import { ForwardedPushes } from './forwarded-pushes.tsx';
import { MirrorPart, mirrorFrom } from './mirror.tsx';
import { apiOrganization, repositoryPath } from '../paths.ts';
import { ifSoon, RegistryError, WITH_NODES_MILLISECONDS } from '../registry-client.ts';

const ON_PAGE = 50;
/** Quotas in bytes stay safe integers up to here. */
const MAX_GIGABYTES = 9_000_000;
const MAX_DAYS = 36_500;
const RIGHTS = ['pull', 'push', 'delete', 'admin'] as const;

export function organizationPages(): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();

  pages.get('/organizations', async (c) => {
    const reader = c.get('reader');
    const { organizations } = await reader.registry.get<{ organizations: Organization[] }>('/api/organizations', {
      n: ON_PAGE,
      last: c.req.query('last') ?? '',
    });
    return c.html(
      <Page title="Organizations" reader={reader} section="/organizations">
        <Form reader={reader} action="/organizations" class="inline">
          <label>
            New organization
            <input name="name" required />
          </label>
          <button type="submit">Create</button>
        </Form>
        <Table
          caption="Organizations"
          columns={['Organization', 'Quota', 'Created']}
          rows={organizations.map(({ name, quota, created_at }) => [
            <a href={`/organizations/${name}`}>{name}</a>,
            quota === null ? <span class="faint">none</span> : <Bytes of={quota} />,
            <Time at={created_at} />,
          ])}
          empty="There are no organizations yet. Create the first one."
        />
        <Next
          path="/organizations"
          query={{}}
          last={organizations.length === ON_PAGE ? organizations.at(-1)?.name : null}
        />
      </Page>,
    );
  });

  pages.post('/organizations', async (c) => {
    const name = (await FormFields.of(c)).text('name');
    const { name: created } = await c
      .get('reader')
      .registry.change<Organization>('POST', '/api/organizations', { name });
    return c.redirect(`/organizations/${created}`, 303);
  });

  pages.get('/organizations/:name', (c) => organizationPage(c, c.req.param('name'), {}));

  pages.get('/organizations/:name/repositories', async (c) => {
    const reader = c.get('reader');
    const name = c.req.param('name');
    const { repositories } = await reader.registry.get<{ repositories: Repository[] }>(
      `${apiOrganization(name)}/repositories`,
      { n: ON_PAGE, last: c.req.query('last') ?? '' },
    );
    const last = repositories.length === ON_PAGE ? repositories.at(-1)?.name : null;
    return c.html(
      <Page title={`Repositories of ${name}`} reader={reader} section={sectionOf(reader, name)}>
        <Table
          caption={`Repositories of ${name}`}
          columns={['Repository', 'Visibility', 'Created']}
          rows={repositories.map((each) => [
            <a href={repositoryPath(each.name)}>{each.name}</a>,
            <State>{each.visibility}</State>,
            <Time at={each.created_at} />,
          ])}
          empty="There are no repositories yet. A push creates one."
        />
        <Next path={`/organizations/${name}/repositories`} query={{}} last={last} />
      </Page>,
    );
  });

  pages.post('/organizations/:name/quota', async (c) => {
    const name = c.req.param('name');
    const form = await FormFields.of(c);
    return orProblem(c, name, async () => {
      const gigabytes = form.number('gigabytes', MAX_GIGABYTES);
      const bytes = gigabytes === undefined ? null : Math.round(gigabytes * 1e9);
      await c.get('reader').registry.change('PUT', `${apiOrganization(name)}/quota`, { bytes });
      return c.redirect(`/organizations/${name}`, 303);
    });
  });

  pages.post('/organizations/:name/mirror', async (c) => {
    const name = c.req.param('name');
    const form = await FormFields.of(c);
    return orProblem(c, name, async () => {
      await c.get('reader').registry.change('PUT', `${apiOrganization(name)}/mirror`, mirrorFrom(form));
      return c.redirect(`/organizations/${name}`, 303);
    });
  });

  pages.post('/organizations/:name/mirror/retry', async (c) => {
    const name = c.req.param('name');
    return orProblem(c, name, async () => {
      await c.get('reader').registry.change('POST', `${apiOrganization(name)}/mirror/retry`);
      return c.redirect(`/organizations/${name}`, 303);
    });
  });

  pages.post('/organizations/:name/mirror/remove', async (c) => {
    const name = c.req.param('name');
    return orProblem(c, name, async () => {
      await c.get('reader').registry.change('DELETE', `${apiOrganization(name)}/mirror`);
      return c.redirect(`/organizations/${name}`, 303);
    });
  });

  pages.post('/organizations/:name/credentials', async (c) => {
    const organization = c.req.param('name');
    const form = await FormFields.of(c);
    const patterns = form
      .text('repositories')
      .split(/[\s,]+/)
      .filter((pattern) => pattern !== '');
    return orProblem(c, organization, async () => {
      const days = form.number('days', MAX_DAYS);
      const end = days === undefined ? undefined : new Date(Date.now() + days * DAY);
      const created = await c
        .get('reader')
        .registry.change<CreatedCredential>('POST', `${apiOrganization(organization)}/credentials`, {
          name: form.text('name'),
          rights: form.all('rights'),
          ...(patterns.length > 0 && { repositories: patterns }),
          ...(end !== undefined && { expires_at: end.toISOString() }),
        });
      return organizationPage(c, organization, { created });
    });
  });

  pages.post('/organizations/:name/credentials/:credential/remove', async (c) => {
    const { name, credential } = c.req.param();
    return orProblem(c, name, async () => {
      const path = `${apiOrganization(name)}/credentials/${encodeURIComponent(credential)}`;
      await c.get('reader').registry.change('DELETE', path);
      return c.redirect(`/organizations/${name}`, 303);
    });
  });
  return pages;
}

/** Makes a change. If it is refused, answers with the organization's page, which says why. */
async function orProblem(c: ConsoleContext, name: string, change: () => Promise<Response>): Promise<Response> {
  try {
    return await change();
  } catch (error) {
    if (!(error instanceof RegistryError || error instanceof HTTPException)) throw error;
    c.status(error.status as 400);
    return organizationPage(c, name, { problem: error.message });
  }
}

async function organizationPage(
  c: ConsoleContext,
  name: string,
  { created, problem }: { created?: CreatedCredential; problem?: string },
): Promise<Response> {
  const reader = c.get('reader');
  const [usage, byDay, byRepository, found, mirror] = await Promise.all([
    ifSoon(reader.registry.get<Usage>(`${apiOrganization(name)}/usage`), WITH_NODES_MILLISECONDS),
    ifSoon(reader.registry.get<UsageDays>(`${apiOrganization(name)}/usage/days`)),
    ifSoon(reader.registry.get<RepositoriesUsage>(`${apiOrganization(name)}/usage/repositories`)),
    ifSoon(reader.registry.get<{ credentials: Credential[] }>(`${apiOrganization(name)}/credentials`)),
    ifSoon(reader.registry.find<Mirror>(`${apiOrganization(name)}/mirror`).then((answer) => answer ?? null)),
  ]);
  const forwarded =
    mirror?.pushes === 'forwarded'
      ? await ifSoon(reader.registry.get<MirrorStatus>(`${apiOrganization(name)}/mirror/status`))
      : undefined;
  return c.html(
    <Page title={name} reader={reader} section={sectionOf(reader, name)}>
      <Problem message={problem} />
      {created && <Created reader={reader} credential={created} />}
      <h2>Use</h2>
      {usage ? <UseNow usage={usage} /> : <NoAnswer />}
      {byDay ? <UseOverTime days={byDay.days} /> : <NoAnswer />}
      <h2>Use by repository</h2>
      {byRepository === undefined ? (
        <NoAnswer />
      ) : usage?.blobs === 0 ? (
        <p class="empty">Nothing is stored yet.</p>
      ) : (
        <RepositoriesTreemap usage={byRepository} organization={name} />
      )}
      <p>
        <a href={`/organizations/${name}/repositories`}>Repositories of {name}</a>
      </p>
      {usage && reader.caller.kind === 'administrator' && (
        <Form reader={reader} action={`/organizations/${name}/quota`} class="inline">
          <label>
            Quota in GB (empty for none)
            <input name="gigabytes" inputmode="decimal" value={usage.quota === null ? '' : String(usage.quota / 1e9)} />
          </label>
          <button type="submit">Set the quota</button>
        </Form>
      )}
      {mirror === undefined ? <NoAnswer /> : <MirrorPart reader={reader} organization={name} mirror={mirror} />}
      {forwarded && <ForwardedPushes reader={reader} organization={name} status={forwarded} />}
      <h2>Credentials</h2>
      <Table
        caption={`Credentials of ${name}`}
        columns={['Name', 'Rights', 'Repositories', 'Last used', 'Ends', 'Actions']}
        rows={(found?.credentials ?? []).map((each) => [
          each.name,
          each.rights.join(', '),
          each.repositories.join(', '),
          <Time at={each.last_used_at} />,
          <Time at={each.expires_at} />,
          <Action
            reader={reader}
            action={`/organizations/${name}/credentials/${each.name}/remove`}
            label={`Remove ${each.name}`}
          />,
        ])}
        empty={found ? 'There are no credentials yet. Create one below to push and pull.' : <NoAnswer />}
      />
      <h2>New credential</h2>
      <Form reader={reader} action={`/organizations/${name}/credentials`} class="stacked">
        <label>
          Name
          <input name="name" required pattern="[a-z0-9][a-z0-9._-]{0,62}" />
        </label>
        <fieldset>
          <legend>Rights</legend>
          {RIGHTS.map((right) => (
            <label>
              <input type="checkbox" name="rights" value={right} checked={right === 'pull'} />
              {right}
            </label>
          ))}
        </fieldset>
        <label>
          Repositories (empty for the default)
          <input name="repositories" placeholder={`${name}/*`} />
        </label>
        <label>
          Ends after days (empty for the default)
          <input name="days" inputmode="numeric" />
        </label>
        <button type="submit">Create the credential</button>
      </Form>
    </Page>,
  );
}

const UseNow: FC<{ usage: Usage }> = ({ usage }) => (
  <>
    {!usage.complete && <p class="problem">A node's store does not answer, so what only it holds is missing.</p>}
    <Facts
      of={[
        ['Used', usage.quota === null ? inUnits(usage.used) : `${inUnits(usage.used)} of ${inUnits(usage.quota)}`],
        ['In flight', inUnits(usage.in_flight)],
        ['Repositories', counted(usage.repositories)],
        ['Tags', `${counted(usage.tags)} of ${counted(usage.limits.tags)}`],
        ['Manifests', `${counted(usage.manifests)} of ${counted(usage.limits.manifests)}`],
        ['Blobs', `${counted(usage.blobs)} of ${counted(usage.limits.blobs)}`],
      ]}
    />
  </>
);

const NoAnswer: FC = () => (
  <p>
    <State>does not answer</State>
  </p>
);

function sectionOf({ caller }: SignedIn, name: string): string {
  return caller.kind === 'administrator' ? '/organizations' : `/organizations/${name}`;
}

const Created: FC<{ reader: SignedIn; credential: CreatedCredential }> = ({ reader, credential }) => (
  <section role="status">
    <p>
      The credential <strong>{credential.name}</strong> was created. Copy its secret: it is not shown again.
    </p>
    <pre tabindex={0}>{credential.secret}</pre>
    <p>Each of these commands logs in, and asks for the secret. crane uses the login of docker.</p>
    {reader.caller.registries.map(({ name, host }) => (
      <>
        <h3>At {name}</h3>
        <pre tabindex={0}>
          {['docker login', 'podman login', 'berth login', 'helm registry login', 'oras login']
            .map((command) => `${command} ${host} -u ${credential.organization ?? credential.name}`)
            .join('\n')}
        </pre>
      </>
    ))}
  </section>
);
