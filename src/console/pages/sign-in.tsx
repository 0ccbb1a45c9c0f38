/** Signing in and out. */
import { Hono } from 'hono';
import type { FC } from 'hono/jsx';
import { Problem } from '../components.tsx';
import type { ConsoleEnv } from '../context.ts';
import { FormFields } from '../form.ts';
import { Page } from '../layout.tsx';
import { RegistryError } from '../registry-client.ts';
import { beginSession, callerOf, endSession, registryAs, signedInOnly } from '../sign-in.ts';

export function signInPages(): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();
  pages.get('/sign-in', (c) => c.html(<SignIn to={ownPath(c.req.query('to') ?? '')} />));

  pages.post('/sign-in', async (c) => {
    const form = await FormFields.of(c);
    const [user, secret, path] = [form.text('user'), form.text('secret'), ownPath(form.text('to'))];
    const refuse = (status: 400 | 401 | 429, message: string) => {
      c.status(status);
      return c.html(<SignIn to={path} user={user} problem={message} />);
    };
    if (user === '' || secret === '') return refuse(400, 'Enter the user and the secret of a credential.');
    const registry = registryAs(c, { user, secret, id: '' });
    try {
      const caller = await callerOf(registry);
      if (caller === undefined)
        return refuse(401, 'Wrong user or secret. Enter the credential that you use with docker login.');
    } catch (error) {
      if (error instanceof RegistryError && error.status === 429)
        return refuse(429, 'Too many attempts. Wait a minute, and try again.');
      throw error;
    }
    if (!(await beginSession(c, user, secret)))
      return refuse(400, 'This secret is too long for a session. Sign in with a credential that Berth created.');
    return c.redirect(path, 303);
  });

  pages.post('/sign-out', signedInOnly, (c) => {
    endSession(c);
    return c.redirect('/sign-in', 303);
  });
  return pages;
}

/** Returns a path of the console; the start for anything that would lead elsewhere. */
function ownPath(to: string): string {
  const base = 'https://console.invalid';
  const url = URL.parse(to, base);
  // A path that starts with two slashes would be another host.
  const isOwn = url?.origin === base && to.startsWith('/') && !url.pathname.startsWith('//');
  return isOwn ? `${url.pathname}${url.search}` : '/';
}

const SignIn: FC<{ to: string; user?: string; problem?: string }> = ({ to, user = '', problem }) => (
  <Page title="Sign in">
    <Problem message={problem} />
    <form method="post" action="/sign-in" class="stacked">
      <input type="hidden" name="to" value={to} />
      <label>
        User
        <input name="user" value={user} autocomplete="username" required autofocus />
      </label>
      <label>
        Secret
        <input name="secret" type="password" autocomplete="current-password" required />
      </label>
      <button type="submit">Sign in</button>
    </form>
  </Page>
);
