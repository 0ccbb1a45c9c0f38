/** Imports over HTTP, as a user of the local registry. */
import { loggedIn, request } from './push.ts';

export interface Report {
  readonly id: string;
  readonly state: string;
  readonly error: string | null;
  readonly repositories: { readonly done: number; readonly total: number };
  readonly tags: { readonly done: number; readonly total: number };
  readonly manifests: { readonly copied: number; readonly present: number };
  readonly blobs: { readonly copied: number; readonly present: number };
  readonly bytes: { readonly done: number; readonly total: number };
  readonly skipped: number;
  readonly report: readonly { readonly what: string; readonly reason: string }[];
}

type Id = Pick<Report, 'id'>;

export interface Importing {
  start(fields: object): Promise<Report>;
  look(id: Id, wait?: number): Promise<Report>;
  cancel(id: Id): Promise<Report>;
  /** Waits until an import has ended. */
  ended(id: Id): Promise<Report>;
  /** Starts an import and waits until it has ended. */
  run(fields: object): Promise<Report>;
}

/** @param urlOf where the registry is now */
export function importsAt(urlOf: () => string, user = 'alice'): Importing {
  const ask = async (method: string, path = '', body?: object): Promise<Report> => {
    const answer = await request(loggedIn(urlOf(), user), method, `/api/organizations/alice/imports${path}`, {
      headers: { 'Content-Type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} was answered ${answer.status}: ${text}`);
    return JSON.parse(text) as Report;
  };
  const look = ({ id }: Id, wait = 0): Promise<Report> => ask('GET', `/${id}?wait=${wait}`);
  const start = (fields: object): Promise<Report> => ask('POST', '', fields);
  const ended = async (id: Id): Promise<Report> => {
    for (;;) {
      const last = await look(id, 10);
      if (last.state !== 'running') return last;
    }
  };
  return {
    start,
    look,
    cancel: ({ id }) => ask('DELETE', `/${id}`),
    ended,
    run: async (fields) => ended(await start(fields)),
  };
}
