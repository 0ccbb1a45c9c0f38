/**
 * Asks the platform whose token it is: `GET <url>/v1/auth`. The call is bounded in time and size and follows no
 * redirects. Unless the answer clearly says good or bad, the platform counts as unavailable. Errors of `fetch` are not
 * passed on, because no error or log line may contain any part of the token.
 */
import { OciError } from '../oci/errors.ts';
import type { OrganizationName } from '../oci/reference.ts';
import { isRefusal, organizationIn } from './platform-token.ts';

/** The longest that a call may take, to the end of its answer. */
export const CALL_MILLISECONDS = 5000;

/** The most bytes of an answer. A normal answer has a few hundred. */
const MAX_ANSWER_BYTES = 64 * 1024;

export type PlatformAnswer =
  | { readonly kind: 'good'; readonly organization: OrganizationName }
  | { readonly kind: 'bad' }
  | {
      readonly kind: 'unavailable';
      /** For the log. */
      readonly problem: string;
      /** Whether the platform would fail for every token: it does not answer, or answers with a 5xx. */
      readonly isAway: boolean;
    };

/** The error for a platform that cannot be asked: 503, because Berth never guesses whether a token is good. */
export class PlatformUnavailable extends OciError {
  constructor(problem: string) {
    super('UNAVAILABLE', {
      message: 'the platform that this registry asks about tokens does not answer: try again',
      headers: { 'Retry-After': '5' },
      cause: new Error(`the platform, asked about a token: ${problem}`),
    });
  }
}

interface PlatformCallOptions {
  readonly fetcher?: typeof fetch;
  readonly milliseconds?: number;
}

/** Asks the platform about a token. Never rejects. @param url the platform's base URL, without a trailing slash */
export async function askPlatform(
  url: string,
  token: string,
  { fetcher = fetch, milliseconds = CALL_MILLISECONDS }: PlatformCallOptions = {},
): Promise<PlatformAnswer> {
  const controller = new AbortController();
  const late = Promise.withResolvers<PlatformAnswer>();
  const timer = setTimeout(() => {
    late.resolve({ kind: 'unavailable', problem: `no answer within ${milliseconds} ms`, isAway: true });
    controller.abort();
  }, milliseconds);
  const answered = answerOf(fetcher, url, token, controller.signal).catch((): PlatformAnswer => {
    return { kind: 'unavailable', problem: 'it could not be reached, or broke off', isAway: true };
  });
  const answer = await Promise.race([answered, late.promise]);
  clearTimeout(timer);
  // Stops the request if it is still running after the race.
  controller.abort();
  return answer;
}

async function answerOf(
  fetcher: typeof fetch,
  url: string,
  token: string,
  signal: AbortSignal,
): Promise<PlatformAnswer> {
  const headers = { Authorization: `Bearer ${token}`, Accept: 'application/json' };
  const response = await fetcher(`${url}/v1/auth`, { headers, redirect: 'manual', cache: 'no-store', signal });
  const { status } = response;
  if (status !== 200) {
    // A proxy in front of the platform may answer 403 to everything. Such an answer says nothing about the token.
    if (status === 403 && isRefusal((await textOf(response, MAX_ANSWER_BYTES)) ?? '')) return { kind: 'bad' };
    await response.body?.cancel();
    return status === 401
      ? { kind: 'bad' }
      : { kind: 'unavailable', problem: `status ${status}`, isAway: status >= 500 };
  }
  const body = await textOf(response, MAX_ANSWER_BYTES);
  if (body === undefined)
    return { kind: 'unavailable', problem: `an answer of more than ${MAX_ANSWER_BYTES} bytes`, isAway: false };
  const organization = organizationIn(body);
  if (organization === undefined)
    return { kind: 'unavailable', problem: 'an answer that does not name a valid organization', isAway: false };
  return { kind: 'good', organization };
}

/** Reads the body; returns undefined, and stops reading, after `limit` bytes. */
async function textOf({ body }: Response, limit: number): Promise<string | undefined> {
  if (body === null) return '';
  const decoder = new TextDecoder();
  let text = '';
  let size = 0;
  // Leaving the loop cancels the body.
  for await (const piece of body) {
    size += piece.byteLength;
    if (size > limit) return undefined;
    text += decoder.decode(piece, { stream: true });
  }
  return text + decoder.decode();
}
