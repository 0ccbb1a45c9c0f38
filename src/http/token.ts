/**
 * The token endpoint: Docker's GET, and the OAuth 2.0 POST that containerd tries first. Anonymous callers get a token
 * for public repositories. A token grants the part of the requested scopes that the caller may have; the rest is left
 * out, not refused. The endpoint refuses wrong passwords, credentials that are about to expire, and pushes to names
 * that no repository can have.
 */
import { Hono } from 'hono';
import { issueAccessToken, type IssuedToken, LEAST_TOKEN_SECONDS } from '../auth/access-token.ts';
import { isEmpty, parseBasic, type Presented } from '../auth/basic.ts';
import type { Login } from '../auth/credential.ts';
import { grantable } from '../auth/grant.ts';
import { formatScope, nameOfOnlyPush, parseScopes, type Scope } from '../auth/scope.ts';
import { namespaceId } from '../namespaces/namespace.ts';
import { OciError } from '../oci/errors.ts';
import { composeControlData } from '../registry/compose.ts';
import { smallBodiesOnly } from './body.ts';
import { noStore } from './no-store.ts';
import { logInFrom, logInWithWholeToken } from './authenticate.ts';
import type { AppContext, AppEnv } from './context.ts';
import { scopesWithin } from './mirror-host.ts';
import { requirePushableName } from './push-name.ts';

export function tokenRoutes(): Hono<AppEnv> {
  const token = new Hono<AppEnv>();
  token.use('/token', noStore);

  token.get('/token', async (c) => {
    const header = c.req.header('Authorization');
    const login = header === undefined ? undefined : await loginOf(c, presentedIn(header));
    return answer(c, await issue(c, login, c.req.queries('scope') ?? []));
  });

  token.post('/token', smallBodiesOnly, async (c) => {
    const form = await formOf(c);
    const scopes = form.getAll('scope').filter((value) => typeof value === 'string');
    switch (form.get('grant_type')) {
      case 'password':
        return oauthAnswer(
          c,
          await issue(c, await loginOf(c, { user: text(form, 'username'), password: text(form, 'password') }), scopes),
        );
      case 'refresh_token': {
        // A client's identity token is the whole platform token, which contains the user.
        const login = await logInWithWholeToken(c, text(form, 'refresh_token'));
        if (login === undefined) throw wrongPassword();
        return oauthAnswer(c, await issue(c, login, scopes));
      }
      default:
        throw new OciError('PARAMETER_INVALID', { message: 'grant_type must be password or refresh_token' });
    }
  });

  return token;
}

interface Issued extends IssuedToken {
  readonly scopes: readonly Scope[];
  /** Milliseconds since the epoch. */
  readonly issuedAt: number;
}

/** Issues a token. @throws OciError UNAUTHORIZED for a credential that expires too soon, DENIED, UNAVAILABLE */
async function issue(c: AppContext, login: Login | undefined, scopesOfClient: readonly string[]): Promise<Issued> {
  const organization = c.get('mirrorOrganization');
  const asked = organization === undefined ? scopesOfClient : scopesWithin(organization, scopesOfClient);
  const pushedTo = nameOfOnlyPush(asked);
  if (pushedTo !== undefined) requirePushableName(c.get('url'), pushedTo);
  const now = Date.now();
  const control = composeControlData(c.env, c.get('namespace'));
  const scopes = await grantable(login?.credential, parseScopes(asked), (names) => control.publicAmong(names));
  const issued = await issueAccessToken(c.get('runtime').keys, {
    credential: login?.credential,
    scopes,
    audience: namespaceId(c.get('namespace')),
    now,
    checkedAt: login?.checkedAt ?? now,
    credentialExpiresAt: login?.expiresAt,
  });
  if (login !== undefined) c.get('logFields')['subject'] = login.credential.id;
  if (issued.expiresIn < LEAST_TOKEN_SECONDS) throw tooShort(login?.expiresAt, now);
  return { ...issued, scopes, issuedAt: now };
}

/** Answers in the form of Docker's "Token Authentication Specification". */
function answer(c: AppContext, { token, expiresIn, issuedAt }: Issued, more: object = {}): Response {
  const body = {
    token,
    access_token: token,
    expires_in: expiresIn,
    issued_at: new Date(issuedAt).toISOString(),
    ...more,
  };
  return c.json(body, 200);
}

/** Answers in the form of Docker's "OAuth2 Token Authentication", which requires `scope`: the granted scopes. */
function oauthAnswer(c: AppContext, issued: Issued): Response {
  return answer(c, issued, { scope: issued.scopes.map(formatScope).join(' ') });
}

/**
 * Returns the error for a token that would be valid for less than a minute: clients would go on using it after its end.
 * A token cannot outlive its credential, so a credential gets no tokens in its last minute.
 */
function tooShort(credentialExpiresAt: number | undefined, now: number): OciError {
  if (credentialExpiresAt !== undefined && credentialExpiresAt < now + LEAST_TOKEN_SECONDS * 1000) {
    return new OciError('UNAUTHORIZED', {
      message: 'the credential expires in less than a minute: use another credential',
      headers: BASIC,
    });
  }
  return new OciError('UNAVAILABLE', { headers: { 'Retry-After': '1' } });
}

/** Checks the login; returns undefined for an anonymous caller. @throws OciError UNAUTHORIZED if it is wrong */
async function loginOf(c: AppContext, presented: Presented | undefined): Promise<Login | undefined> {
  if (presented === undefined) throw wrongPassword();
  if (isEmpty(presented)) return undefined;
  const login = await logInFrom(c, presented);
  if (login === undefined) throw wrongPassword();
  return login;
}

function presentedIn(header: string): Presented | undefined {
  const [, encoded] = /^Basic +(.+)$/i.exec(header) ?? [];
  return encoded === undefined ? undefined : parseBasic(encoded);
}

async function formOf(c: AppContext): Promise<FormData> {
  try {
    return await c.req.raw.formData();
  } catch (cause) {
    throw new OciError('PARAMETER_INVALID', {
      message: 'the body must be a form: send it as application/x-www-form-urlencoded',
      cause,
    });
  }
}

function text(form: FormData, field: string): string {
  const value = form.get(field);
  return typeof value === 'string' ? value : '';
}

const BASIC = { 'WWW-Authenticate': 'Basic realm="Berth", charset="UTF-8"' };

function wrongPassword(): OciError {
  return new OciError('UNAUTHORIZED', { message: 'wrong user name or password', headers: BASIC });
}
