/** A browser without scripts: it keeps its cookie and follows forms. */
import { call, type CallOptions } from '../support/client.ts';

export const ORIGIN = 'http://console.localhost:8790';

/** A queue in which nothing waits, as the management API shows it, without its store. */
export const IDLE_QUEUE = {
  answers: true,
  depth: 0,
  oldest_outbox_entry_seconds: null,
  in_flight: 0,
  copies_down: 0,
  parked: 0,
  paused: false,
  copies_up: { blobs: 0, bytes: 0, complete: true },
  change_log: [],
};

export class Reader {
  #cookie = '';
  readonly #fetcher: CallOptions['fetcher'];

  /** @param fetcher answers instead of the Worker as deployed */
  constructor(fetcher?: CallOptions['fetcher']) {
    this.#fetcher = fetcher;
  }

  /** Signs in, and requires that it works. */
  static async signedIn(user: string, secret = `${user}-secret`, fetcher?: CallOptions['fetcher']): Promise<Reader> {
    const reader = new Reader(fetcher);
    const answer = await reader.signIn(user, secret);
    if (answer.status !== 303) throw new Error(`signing in answered ${answer.status}: ${await answer.text()}`);
    return reader;
  }

  get cookie(): string {
    return this.#cookie;
  }

  signIn(user: string, secret: string, to = '/'): Promise<Response> {
    return this.send('POST', '/sign-in', { form: { user, secret, to } });
  }

  /** Opens a page. */
  async text(path: string): Promise<string> {
    const answer = await this.send('GET', path);
    const text = await answer.text();
    if (answer.status !== 200) throw new Error(`${path} answered ${answer.status}: ${text}`);
    return text;
  }

  /** Sends the form of a page that has the action, with its hidden fields and these. */
  async submit(page: string, action: string, fields: Readonly<Record<string, string>> = {}): Promise<Response> {
    const text = await this.text(page);
    const start = text.indexOf(`action="${action}"`);
    if (start < 0) throw new Error(`${page} has no form for ${action}`);
    const form = text.slice(start, text.indexOf('</form>', start));
    const hidden = [...form.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)];
    const own = Object.fromEntries(hidden.map(([, name = '', value = '']) => [name, value]));
    return this.send('POST', action, { form: { ...own, ...fields } });
  }

  async send(
    method: string,
    path: string,
    { form, headers = {} }: { form?: Readonly<Record<string, string>>; headers?: Record<string, string> } = {},
  ): Promise<Response> {
    const answer = await call(method, path, {
      host: ORIGIN,
      fetcher: this.#fetcher,
      headers: {
        ...(method !== 'GET' && { Origin: ORIGIN }),
        ...(form !== undefined && { 'Content-Type': 'application/x-www-form-urlencoded' }),
        ...(this.#cookie !== '' && { Cookie: this.#cookie }),
        ...headers,
      },
      ...(form !== undefined && { body: new URLSearchParams(form).toString() }),
    });
    const set = answer.headers.get('Set-Cookie');
    if (set !== null) this.#cookie = set.includes('Max-Age=0') ? '' : (set.split(';')[0] ?? '');
    return answer;
  }
}
