/** The console's pages: what they show and do, and what they hide. */
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, test } from 'vitest';
import { addUsers, call, callApi } from '../support/client.ts';
import { ThreeHosts } from '../support/three-hosts.ts';
import { MANIFEST, pushManifest } from './pushed-image.ts';
import { ORIGIN, Reader } from './support.ts';

const APP = 'alice/app';

let hosts: ThreeHosts;

beforeEach(async () => {
  await addUsers();
  hosts = await ThreeHosts.open();
});

const SECURITY = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'referrer-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

test.each(['/sign-in', '/nowhere', '/assets/style.css'])('%s has the headers that protect a reader', async (path) => {
  const answer = await call('GET', path, { host: ORIGIN });
  expect(Object.fromEntries(answer.headers)).toMatchObject(SECURITY);
});

test('no cache keeps the pages of a session', async () => {
  const reader = await Reader.signedIn('alice');
  expect((await reader.send('GET', '/images')).headers.get('Cache-Control')).toBe('no-store');
});

test.each(['/assets/htmx.js', '/sign-in', '/images'])("no registry's host serves the console's %s", async (path) => {
  expect((await call('GET', path)).status).toBe(404);
});

test.each(['/v2/', '/token', '/api/organizations', '/metrics', '/healthz'])(
  "the console's host serves no %s",
  async (path) => {
    const reader = await Reader.signedIn('admin');
    expect((await reader.send('GET', path)).status).toBe(404);
  },
);

test('a browser that opens a registry is told what it is, and where the console is', async () => {
  const answer = await call('GET', '/', { headers: { Accept: 'text/html,*/*;q=0.8' } });
  const page = await answer.text();
  expect(page).toContain('docker login registry.localhost:8787');
  expect(page).toContain(`<a href="${ORIGIN}/">`);
  expect(answer.headers.get('Content-Security-Policy')).toBe("default-src 'none'; frame-ancestors 'none'");
});

test("the console's name is the console on the ports of registries, too", async () => {
  const answer = await call('GET', 'http://console.localhost:8787/sign-in', {});
  expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('<title>Sign in')]);
});

test('every name of this machine redirects to the one that shares no cookies with a registry', async () => {
  const answer = await call('GET', 'http://localhost:8790/images', {});
  expect([answer.status, answer.headers.get('Location')]).toEqual([307, `${ORIGIN}/images`]);
});

describe('an administrator', () => {
  test.each([
    ['/', 'node1'],
    ['/organizations', 'alice'],
    ['/organizations/alice', 'Credentials'],
    ['/replication', 'node2'],
    ['/replication/node1', 'No job is parked'],
    ['/storage', 'central'],
    ['/audit', 'Nothing has been changed yet'],
    ['/audit.csv', '"at","action"'],
    ['/audit.json', '[]'],
    ['/images', 'Name starts with'],
  ])('opens %s', async (path, text) => {
    const reader = await Reader.signedIn('admin');
    expect(await reader.text(path)).toContain(text);
  });

  test('creates an organization, and sets its quota', async () => {
    const reader = await Reader.signedIn('admin');
    const created = await reader.submit('/organizations', '/organizations', { name: 'acme' });
    expect(created.headers.get('Location')).toBe('/organizations/acme');
    await reader.submit('/organizations/acme', '/organizations/acme/quota', { gigabytes: '1.5' });
    expect(await (await callApi('GET', 'organizations/acme', 'admin')).json()).toMatchObject({ quota: 1.5e9 });
    await reader.submit('/organizations/acme', '/organizations/acme/quota', { gigabytes: '' });
    expect(await (await callApi('GET', 'organizations/acme', 'admin')).json()).toMatchObject({ quota: null });
  });

  test('makes an organization a mirror, changes it without its password, and removes it', async () => {
    const reader = await Reader.signedIn('admin');
    const [page, action] = ['/organizations/alice', '/organizations/alice/mirror'];
    const login = { from: 'https://registry.example.com', username: 'ci' };
    await reader.submit(page, action, { ...login, password: 'of-the-upstream', public: 'yes', days: '' });
    const mirror = async () => (await callApi('GET', 'organizations/alice/mirror', 'admin')).json();
    expect(await mirror()).toMatchObject({ ...login, ttl_seconds: 900, stale_seconds: null, public: true });
    await reader.submit(page, action, {
      ...login,
      repositories: 'app, team/*',
      minutes: '0',
      days: '0.5',
      pushes: 'kept',
    });
    expect(await mirror()).toMatchObject({
      repositories: ['app', 'team/*'],
      ttl_seconds: 0,
      stale_seconds: 43_200,
      pushes: 'kept',
      public: false,
    });
    await reader.submit(page, action, { ...login, pushes: 'forwarded' });
    expect(await reader.text(page)).toContain('Pushes to central that are forwarded');
    const shown = await reader.text(page);
    expect(shown).toContain('https://registry.example.com');
    expect(shown).not.toContain('of-the-upstream');
    const refused = await reader.submit(page, action, { ...login, from: 'https://evil.example' });
    expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining('password')]);
    await reader.submit(page, `${action}/remove`);
    expect(await reader.text(page)).toContain('It is not a mirror');
  });

  test.each(['1,5', 'none', '-1', '1e400', '1e300', 'NaN'])('is refused a quota of %s GB', async (gigabytes) => {
    const reader = await Reader.signedIn('admin');
    expect((await callApi('PUT', 'organizations/alice/quota', 'admin', { bytes: 5e9 })).ok).toBe(true);
    const answer = await reader.submit('/organizations/alice', '/organizations/alice/quota', { gigabytes });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain('gigabytes must be a number');
    expect(await (await callApi('GET', 'organizations/alice', 'admin')).json()).toMatchObject({ quota: 5e9 });
  });

  test('manages private repositories and images without seeing their contents', async () => {
    const { digest } = await hosts.push('central', APP, 1, 'latest');
    const reader = await Reader.signedIn('admin');
    expect(await reader.text('/organizations/alice')).toContain('href="/organizations/alice/repositories"');
    expect(await reader.text('/organizations/alice/repositories')).toContain(`href="/images/${APP}"`);
    const repository = await reader.text(`/images/${APP}`);
    for (const text of ['contents are not shown', 'Make public', `/images/${APP}/-/delete`])
      expect(repository).toContain(text);
    expect(repository).not.toContain(digest);
    await reader.submit(`/images/${APP}:latest`, `/images/${APP}:latest/pin`, { node: 'node1', method: 'PUT' });
    const image = await reader.text(`/images/${APP}:latest`);
    for (const text of ['contents are not shown', 'Let node1 evict it']) expect(image).toContain(text);
    expect(image).not.toContain(digest);
  });

  test('sees the latest pushes of all repositories on the overview', async () => {
    await hosts.push('central', APP, 1, 'latest');
    const overview = await (await Reader.signedIn('admin')).text('/');
    expect(overview).toContain(`href="/images/${APP}:latest">${APP}:latest</a></td><td>central</td>`);
  });

  test('sees what a queue copies, whose turn is next, and what central lacks', async () => {
    const reader = await Reader.signedIn('admin');
    const idle = await reader.text('/replication/node1');
    for (const text of ['Nothing is being copied', 'No copy waits', 'Central has everything'])
      expect(idle).toContain(text);
    hosts.queueOf('node1').state.setPaused(true);
    const { digest } = await hosts.push('node1', APP, 1, 'early');
    const page = await reader.text('/replication/node1');
    expect(page).toContain(`<td>manifest</td><td>${APP}</td><td><code title="${digest}">`);
  });
});

describe("an organization's admin", () => {
  test('sees what it is a mirror of, and has no form to change it', async () => {
    const reader = await Reader.signedIn('alice');
    expect(await reader.text('/organizations/alice')).not.toContain('Mirror');
    await callApi('PUT', 'organizations/alice/mirror', 'admin', { from: 'quay' });
    const page = await reader.text('/organizations/alice');
    expect(page).toContain('<dd>quay</dd>');
    expect(page).not.toContain('/organizations/alice/mirror');
  });

  test('creates a repository before its first push', async () => {
    const reader = await Reader.signedIn('alice');
    const answer = await reader.submit('/images', '/images', { name: 'team/new', visibility: 'public' });
    expect([answer.status, answer.headers.get('Location')]).toEqual([303, '/images/alice/team/new']);
    expect(await reader.text('/images/alice/team/new')).toContain('public');
    const refused = await reader.submit('/images', '/images', { name: 'Bad Name', visibility: 'private' });
    expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining('name')]);
  });

  test('sees the latest pushes to its repositories, but not to others', async () => {
    await hosts.push('central', APP, 1, 'latest');
    const page = await (await Reader.signedIn('alice')).text('/images');
    expect(page).toContain(`href="/images/${APP}:latest">${APP}:latest</a></td><td>central</td>`);
    expect(await (await Reader.signedIn('bob')).text('/images')).not.toContain(APP);
    expect(await (await Reader.signedIn('bob')).text('/images')).toContain('Nothing has been pushed yet');
  });

  test('sees its repositories with tags and last push, sorted by either', async () => {
    for (const [i, name] of ['alice/first', 'alice/second'].entries())
      await hosts.push('central', name, i + 1, 'latest');
    const back = "UPDATE repositories SET created_at = 0, last_push = 0 WHERE name = 'alice/first'";
    await env.DB_CENTRAL.prepare(back).run();
    const reader = await Reader.signedIn('alice');
    const order = async (path: string): Promise<string[]> =>
      [...(await reader.text(path)).matchAll(/href="\/images\/(alice\/\w+)"/g)].map(([, name = '']) => name);
    expect(await order('/images')).toEqual(['alice/first', 'alice/second']);
    expect(await order('/images?sort=pushed')).toEqual(['alice/second', 'alice/first']);
    expect(await order('/images?sort=pushed&prefix=alice/f')).toEqual(['alice/first']);
    expect(await reader.text('/images?prefix=alice/f')).toContain('<td data-column="Tags">1</td>');
    expect(await (await Reader.signedIn('admin')).text('/images?sort=pushed')).not.toContain('name="sort"');
  });

  test('creates a credential, whose secret is shown once, and removes it', async () => {
    const reader = await Reader.signedIn('alice');
    const path = '/organizations/alice';
    const answer = await reader.submit(path, `${path}/credentials`, { name: 'ci', rights: 'push' });
    const [, secret = ''] = /<pre[^>]*>(berth_[^<]+)<\/pre>/.exec(await answer.text()) ?? [];
    expect((await new Reader().signIn('alice', secret)).status).toBe(303);
    expect(await reader.text(path)).not.toContain(secret);
    await reader.submit(path, `${path}/credentials/ci/remove`);
    expect(await reader.text(path)).not.toContain(`${path}/credentials/ci/remove`);
  });

  test('reads why a change was refused', async () => {
    const reader = await Reader.signedIn('alice');
    const answer = await reader.submit('/organizations/alice', '/organizations/alice/credentials', {
      name: 'Bad Name',
    });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain('role="alert"');
  });

  test.each(['soon', '-1', '1e15'])('is refused a credential that ends after %s days', async (days) => {
    const reader = await Reader.signedIn('alice');
    const path = '/organizations/alice';
    const answer = await reader.submit(path, `${path}/credentials`, { name: 'ci', rights: 'pull', days });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain('days must be a number');
  });

  test.each(['/organizations', '/organizations/bob', '/replication', '/storage'])('may not open %s', async (path) => {
    const reader = await Reader.signedIn('alice');
    expect((await reader.send('GET', path)).status).toBe(403);
    expect(await reader.text('/images')).not.toContain(`href="${path}"`);
  });
});

test('a member who may only pull sees neither the audit log, nor the organization, nor actions', async () => {
  await hosts.push('central', APP, 1, 'latest');
  const shown = async (user: string): Promise<boolean[]> => {
    const page = await (await Reader.signedIn(user)).text('/images');
    return ['href="/audit"', 'href="/organizations/alice"', 'data-column="Actions"'].map((each) => page.includes(each));
  };
  expect([await shown('alice'), await shown('reader')]).toEqual([
    [true, true, true],
    [false, false, false],
  ]);
});

describe('a repository', () => {
  test('shows how far its tags have come at each store', async () => {
    hosts.queueOf('node1').state.setPaused(true);
    await hosts.push('node1', APP, 1, 'early');
    await hosts.push('central', APP, 1, 'latest');
    const page = await (await Reader.signedIn('alice')).text(`/images/${APP}`);
    const cells = [...page.matchAll(/<td data-column="(\w+)"><span class="state[^>]*><span[^>]*>.<\/span> (\w+)</g)];
    expect(cells.map(([, store, state]) => `${store} ${state}`)).toEqual([
      'central absent',
      'node1 pending',
      'node2 absent',
      'central settled',
      'node1 absent',
      'node2 absent',
    ]);
  });

  test('shows the platforms of an index, as text', async () => {
    const entry = (i: number, platform: unknown) => ({
      mediaType: MANIFEST,
      size: 2,
      digest: `sha256:${String(i).padStart(64, '0')}`,
      platform,
    });
    await pushManifest(APP, 'many', 'application/vnd.oci.image.index.v1+json', {
      schemaVersion: 2,
      manifests: [
        entry(1, { os: 'linux', architecture: 'amd64' }),
        entry(2, { os: 'linux', architecture: 'arm64', variant: 'v8' }),
        entry(3, { os: 'unknown', architecture: 'unknown' }),
        entry(4, { os: 'linux', architecture: 'amd64' }),
        entry(5, { os: '<b>', architecture: 'x'.repeat(500) }),
      ],
    });
    await hosts.push('central', APP, 1, 'latest');
    const page = await (await Reader.signedIn('alice')).text(`/images/${APP}`);
    expect(page).toContain(`<td data-column="Platforms">linux/amd64, linux/arm64/v8, &lt;b&gt;/${'x'.repeat(96)}</td>`);
    expect(page).toContain('<td data-column="Platforms"></td>');
  });

  test('links the images that central has, and names those that it lacks', async () => {
    await hosts.push('central', APP, 1, 'latest');
    await hosts.push('central', APP, 5, 'moved');
    hosts.queueOf('node1').state.setPaused(true);
    const [early, moved] = [await hosts.push('node1', APP, 3, 'early'), await hosts.push('node1', APP, 7, 'moved')];
    const reader = await Reader.signedIn('alice');
    const page = await reader.text(`/images/${APP}`);
    const links = [...page.matchAll(/href="(\/images\/alice\/app[:@][^"]*)"/g)].map(([, path = '']) => path);
    expect(links.filter((path) => path.includes(':'))).toEqual(
      expect.arrayContaining([`/images/${APP}:latest`, `/images/${APP}:moved`]),
    );
    expect(links).toHaveLength(3);
    for (const path of links) await reader.text(path);
    for (const text of ['early', early.digest, moved.digest]) expect(page).toContain(text);
  });

  test('shows manifests without a tag on a page of their own', async () => {
    const tagged = await hosts.push('central', APP, 1, 'latest');
    const untagged = await hosts.push('central', APP, 5, 'brief');
    expect((await call('DELETE', `/v2/${APP}/manifests/brief`, { as: 'alice' })).status).toBe(202);
    const reader = await Reader.signedIn('alice');
    expect(await reader.text(`/images/${APP}`)).toContain(`href="/images/${APP}/-/untagged"`);
    const page = await reader.text(`/images/${APP}/-/untagged`);
    expect(page).toContain(untagged.digest);
    expect(page).not.toContain(tagged.digest);
  });
});

test('the audit log names the address of a refused login, not an actor', async () => {
  // An isolate records the first refusal from an address at once, and later ones together.
  const headers = { 'CF-Connecting-IP': '192.0.2.77' };
  await new Reader().send('POST', '/sign-in', { form: { user: 'alice', secret: 'wrong', to: '/' }, headers });
  const page = await (await Reader.signedIn('admin')).text('/');
  expect(page).toContain('refuse login');
  expect(page).not.toContain('>maintenance<');
});

describe('the audit log', () => {
  test('is filtered by credential, action, store and day, also when it is downloaded', async () => {
    const admin = await Reader.signedIn('admin');
    await admin.submit('/organizations', '/organizations', { name: 'acme' });
    const alice = await Reader.signedIn('alice');
    await alice.submit('/images', '/images', { name: 'new', visibility: 'private' });
    const today = new Date().toISOString().slice(0, 10);
    const all = `from=${today}&to=${today}&store=central`;
    for (const [filter, shown, hidden] of [
      [`by=alice&${all}`, 'alice/new', 'create organization</td>'],
      [`action=create+organization&${all}`, 'acme', 'alice/new'],
      ['to=2020-01-01', 'No entry matches', 'acme'],
      ['store=node1', 'No entry matches', 'acme'],
    ] as const) {
      const page = await admin.text(`/audit?${filter}`);
      expect(page).toContain(shown);
      expect(page).not.toContain(hidden);
      expect(page).toContain(`href="/audit.csv?${new URLSearchParams(filter).toString().split('&')[0]}`);
    }
    expect(JSON.parse(await admin.text(`/audit.json?by=alice&${all}`))).toMatchObject([{ repository: 'alice/new' }]);
    expect((await admin.text(`/audit.csv?action=create+organization&${all}`)).split('\r\n')).toHaveLength(3);
    expect(await alice.text('/audit?by=admin')).toContain('No entry matches');
    expect((await admin.send('GET', '/audit?from=soon')).status).toBe(400);
  });
});

test('a spreadsheet runs nothing from an exported audit log', async () => {
  const reader = await Reader.signedIn('admin');
  await reader.signIn('=cmd|/c calc', 'wrong');
  const csv = await (await Reader.signedIn('admin')).text('/audit.csv');
  expect(csv).not.toMatch(/"[=+@-]/);
});
