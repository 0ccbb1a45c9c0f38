/**
 * The repository that the doctor pushes to, `<organization>/doctor-<random>`. It remembers what was pushed where, and
 * removes all of it.
 */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Login } from './arguments.ts';
import { type Answer, type Ask, type Client, json, requireStatus, unexpected } from './client.ts';
import { basic } from './deployment.ts';
import type { Host } from './hosts.ts';
import { Failed, type Found, failure, ok } from './line.ts';

const RIGHTS = ['pull', 'push', 'delete'] as const;

/** The most removals of the repository at a host. A request that was given up may arrive after one. */
const ATTEMPTS = 3;

const granted = z.object({ access_token: z.string(), expires_in: z.number(), scope: z.string() });
const who = z.object({ data: z.object({ organization_name: z.string() }) });

/** Names the repository after the credential's organization. @throws Failed */
export async function openScratch(client: Client, { url, name }: Host, login: Login): Promise<Scratch> {
  const answer = await client.ask(new URL('/v1/auth', url), { headers: { Authorization: basic(login) } });
  const { data } = who.safeParse(json(requireStatus(answer, 200)));
  const organization = data?.data.organization_name ?? '';
  if (organization !== '') return new Scratch(`${organization}/doctor-${randomBytes(4).toString('hex')}`, login);
  throw new Failed(
    `${login.user} belongs to no organization at ${name}`,
    "Set BERTH_ORGANIZATION_USER and BERTH_ORGANIZATION_PASSWORD to an organization's credential.",
  );
}

export class Scratch {
  readonly repository: string;
  readonly #login: Login;
  /** By host, since a token is good at one registry only. */
  readonly #tokens = new Map<string, { readonly authorization: string; readonly until: number }>();
  /** Paths of blobs and open uploads by host: nothing else can be left where no manifest was pushed. */
  readonly #paths = new Map<Host, Set<string>>();

  constructor(repository: string, login: Login) {
    this.repository = repository;
    this.#login = login;
  }

  /** Makes a request about the repository. @param path what follows `/v2/<repository>/`, or a Location */
  async ask(client: Client, host: Host, path: string, asked: Ask = {}): Promise<Answer> {
    const url = this.#urlOf(host, path);
    const authorization = await this.#authorization(client, host);
    return client.ask(url, { ...asked, headers: { Authorization: authorization, ...asked.headers } });
  }

  /** Checks that everything which is pushed to a host can be removed again. @throws Failed */
  async requireRights(client: Client, host: Host): Promise<void> {
    await this.#authorization(client, host);
  }

  /** Remembers that something is pushed to a host. @param path of a blob or an upload, if it is known */
  remember(host: Host, path?: string): void {
    const paths = this.#paths.get(host) ?? new Set();
    this.#paths.set(host, paths);
    if (path !== undefined) paths.add(this.#urlOf(host, path).href);
  }

  /** The hosts from which the repository is to be removed. */
  get hosts(): readonly Host[] {
    return [...this.#paths.keys()];
  }

  /** Removes the repository from a host, with all that was pushed. @param client whose requests are not aborted */
  async *remove(client: Client, host: Host): AsyncGenerator<Found, void> {
    try {
      await this.#removeAt(client, host);
      yield ok(`${this.repository} is removed`);
    } catch (error) {
      yield failure(
        `${this.repository} is still there: ${(error as Error).message}`,
        `Remove it: curl -u <user> -X DELETE ${new URL(this.#removal, host.url).href}`,
      );
    }
  }

  get #removal(): string {
    const [organization = '', name = ''] = this.repository.split('/');
    return `/api/v2.0/projects/${organization}/repositories/${name}`;
  }

  /** Tokens and passwords go to the host alone. @throws Failed */
  #urlOf(host: Host, path: string): URL {
    const url = new URL(path, new URL(`/v2/${this.repository}/`, host.url));
    if (url.origin === host.url.origin) return url;
    throw new Failed(
      `${host.name} sends clients on to ${url.origin}`,
      'Look for a transform rule or another Worker that changes Location: docs/zone.md.',
    );
  }

  async #removeAt(client: Client, host: Host): Promise<void> {
    const asked = { method: 'DELETE', headers: { Authorization: basic(this.#login) } };
    for (let attempt = 1; ; attempt++) {
      requireStatus(await client.ask(new URL(this.#removal, host.url), asked), 200, 404);
      const left = await this.ask(client, host, 'tags/list');
      if (left.status === 404) break;
      if (attempt === ATTEMPTS) throw unexpected(left);
    }
    // Without a manifest there was no repository to remove. Blobs and uploads would stay until they expire.
    for (const path of this.#paths.get(host) ?? [])
      requireStatus(await this.ask(client, host, path, { method: 'DELETE' }), 202, 204, 404);
  }

  /**
   * Gets an access token as clients do, because Berth counts passwords more strictly. Without all rights nothing is
   * pushed, because it could not be removed.
   * @throws Failed
   */
  async #authorization(client: Client, host: Host): Promise<string> {
    const known = this.#tokens.get(host.name);
    if (known !== undefined && Date.now() < known.until) return known.authorization;
    const { user: username, secret: password } = this.#login;
    const scope = `repository:${this.repository}:`;
    const form = { grant_type: 'password', service: host.name, scope: scope + RIGHTS.join(','), username, password };
    const answer = await client.ask(new URL('/token', host.url), {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: Buffer.from(new URLSearchParams(form).toString()),
    });
    const { data } = granted.safeParse(json(requireStatus(answer, 200)));
    if (data === undefined) throw new Failed('/token answers in another form', 'Deploy the latest code.');
    const actions = data.scope.startsWith(scope) ? data.scope.slice(scope.length).split(',') : [];
    const missing = RIGHTS.filter((right) => !actions.includes(right));
    if (missing.length > 0) {
      throw new Failed(
        `the credential ${username} may not ${missing.join(', ')} in ${this.repository}`,
        'Use a credential with the rights pull, push and delete in all repositories of the organization.',
      );
    }
    const token = {
      authorization: `Bearer ${data.access_token}`,
      until: Date.now() + (data.expires_in * 1000) / 2,
    };
    this.#tokens.set(host.name, token);
    return token.authorization;
  }
}
