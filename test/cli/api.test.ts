/** The client of the management API, with answers that are made up. */
import { describe, expect, test } from 'vitest';
import { Api, ApiFailure, mayPass, path, splitRepository } from '../../cli/src/api.ts';
import { untilDone } from '../../cli/src/waiting.ts';
import { type Request, TransportError } from '../../src/oci-client/transport.ts';

/** Returns a client, and the requests that it made as `<method> <path>`. */
function apiWith(answer: (url: URL, request: Request) => Response | Promise<Response>, authorization?: string) {
  const sent: string[] = [];
  const send = async (url: URL, request: Request): Promise<Response> => {
    sent.push(`${request.method} ${url.host}${url.pathname}${url.search}`);
    return answer(url, request);
  };
  return { sent, api: new Api('berth.example', new URL('https://berth.example'), send, authorization) };
}

const failing = (status: number, body: string | object, headers: Record<string, string> = {}): Response =>
  new Response(typeof body === 'string' ? body : JSON.stringify(body), { status, headers });

const failureOf = async (response: Response, authorization?: string): Promise<unknown> =>
  apiWith(() => response, authorization)
    .api.send('GET', '/api/organizations')
    .catch((error: unknown) => error);

test('a path encodes its parts', () => {
  const [organization, name] = splitRepository('acme/team/app');
  expect(path`/api/organizations/${organization}/repositories/${name}`).toBe(
    '/api/organizations/acme/repositories/team%2Fapp',
  );
  expect(() => splitRepository('single')).toThrow('ORG/NAME');
});

test.each(['.', '..'])('a path has no part that leads elsewhere: %s', (part) => {
  expect(() => path`/api/organizations/${part}/credentials/${'ci'}`).toThrow(`"${part}" is not a name`);
});

test.each([200, 500])('only a part of an endless answer is read, with status %i', async (status) => {
  let isLeft = false;
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(1024 ** 2).fill(32)),
    cancel: () => void (isLeft = true),
  });
  const headers = { 'Content-Type': 'application/json' };
  const { api } = apiWith(() => new Response(endless, { status, headers }));
  await expect(api.call('GET', '/api/organizations')).rejects.toThrow(ApiFailure);
  expect(isLeft).toBe(true);
});

test('a list is read page by page, until one is not full', async () => {
  const names = ['a', 'b', 'c', 'd', 'e'];
  const { api, sent } = apiWith(({ searchParams }) => {
    const from = names.indexOf(searchParams.get('last') ?? '') + 1;
    return Response.json({ names: names.slice(from, from + 2).map((name) => ({ name })) });
  });
  const found = await api.list<{ name: string }>('/api/x', 'names', ({ name }) => name, 2);
  expect(found.map(({ name }) => name)).toEqual(names);
  expect(sent).toEqual(['', '&last=b', '&last=d'].map((last) => `GET berth.example/api/x?n=2${last}`));
});

describe('a list that does not end', () => {
  const names = [{ name: 'a' }, { name: 'b' }];

  test.each([
    ['the same page again', () => '/v1/list?last=a', 2],
    ['pages that lead back', (sent: number) => `/v1/list?last=${sent % 3}`, 4],
    ['empty pages', (sent: number) => `/v1/list?last=${sent}`, 100],
  ])('is given up: %s', async (what, linkAfter, requests) => {
    const { api, sent } = apiWith(() => {
      const link = `<${linkAfter(sent.length)}>; rel="next"`;
      return Response.json(what === 'empty pages' ? [] : names, { headers: { link } });
    });
    const list = api.linkedPages('/v1/list', {}, (page) => page as object[]);
    await expect(list).rejects.toThrow('berth.example sends a list that does not end: check the host');
    expect(sent).toHaveLength(requests);
  });

  test('is given up if the host takes no notice of the last name', async () => {
    const { api, sent } = apiWith(() => Response.json({ names }));
    await expect(api.list<{ name: string }>('/api/x', 'names', ({ name }) => name, 2)).rejects.toThrow('does not end');
    expect(sent).toHaveLength(2);
  });
});

test('a link to the next page is followed at the same host only, wherever it leads', async () => {
  const { api, sent } = apiWith(({ searchParams }, { headers }) => {
    expect(headers).toMatchObject({ authorization: 'Basic YTpi' });
    const link = '<https://elsewhere.example/v1/list?last=a>; rel="next"';
    return Response.json([searchParams.get('last')], searchParams.has('last') ? {} : { headers: { link } });
  }, 'Basic YTpi');
  expect(await api.linkedPages('/v1/list', { n: 1 }, (page) => page as (string | null)[])).toEqual([null, 'a']);
  expect(sent).toEqual(['GET berth.example/v1/list?n=1', 'GET berth.example/v1/list?last=a']);
});

describe('an error', () => {
  test.each([
    [
      failing(403, { errors: [{ message: 'only an administrator may do this' }] }),
      'berth.example: only an administrator',
    ],
    [failing(404, '<html>'), 'berth.example: the answer was 404: check that the host runs Berth'],
    [failing(503, { errors: [{ message: 'away' }] }, { 'retry-after': '5' }), 'berth.example: away; try again in 5 s'],
    [failing(302, '', { location: 'https://other.example/\u{85}' }), /redirects to https:\/\/other.example/],
    [
      failing(401, ''),
      'berth.example asks for a login: run berth login berth.example, or set BERTH_HOST=berth.example',
    ],
    [failing(400, { errors: [{ message: 'bad \u{1b}[31m' }] }), 'bad \u{fffd}[31m'],
  ])('%# says what was wrong and what to do', async (response, message) => {
    const failure = await failureOf(response);
    expect(failure).toBeInstanceOf(ApiFailure);
    expect(() => {
      throw failure;
    }).toThrow(message);
  });

  test('about a login says something else if a login was sent', async () => {
    expect(await failureOf(failing(401, ''), 'Basic YTpi')).toMatchObject({
      message: 'berth.example does not accept the login: repeat berth login berth.example',
    });
  });

  test('says that something other than Berth answered', async () => {
    const { api } = apiWith(() => new Response('<html>', { headers: { 'content-type': 'text/html' } }));
    await expect(api.call('GET', '/api/organizations')).rejects.toThrow('does not answer as Berth does');
  });
});

describe('waiting', () => {
  const unavailable = (): ApiFailure => new ApiFailure('away', 503);

  test('goes on while the registry is away for a moment, and returns the answer that ends it', async () => {
    const answers = [1, unavailable(), new TransportError('reset'), 2];
    const seen: unknown[] = [];
    const ask = async (): Promise<number> => {
      const next = answers.shift();
      if (typeof next === 'number') return next;
      throw next;
    };
    expect(
      await untilDone(
        60,
        ask,
        (answer) => answer === 2,
        (answer) => seen.push(answer),
        1,
      ),
    ).toBe(2);
    expect(seen).toEqual([1]);
  });

  test('ends at once with a refusal', async () => {
    const refusal = new ApiFailure('denied', 403);
    expect(mayPass(refusal)).toBe(false);
    await expect(untilDone(60, () => Promise.reject(refusal), Boolean, Boolean)).rejects.toBe(refusal);
  });

  test('ends at the deadline, with the failure if the registry is away then', async () => {
    expect(
      await untilDone(
        0,
        async () => 1,
        () => false,
        Boolean,
      ),
    ).toBeUndefined();
    await expect(untilDone(0, () => Promise.reject(unavailable()), Boolean, Boolean)).rejects.toThrow('away');
  });
});
