/**
 * Asking the platform whose a token is: `GET <url>/v1/auth`. One call, bounded in time and size, that follows nobody
 * elsewhere: what is not clearly good or clearly bad is a platform that cannot be asked. Nothing that is thrown or
 * logged here has anything of the token, so errors of `fetch` are not passed on.
 */
import { OciError } from '../oci/errors.ts';
import type { OrganizationName } from '../oci/reference.ts';
import { isRefusal, organizationIn } from './platform-token.ts';

/** From the call to the end of its answer. */
export const CALL_MILLISECONDS = 5000;

/** An answer has some hundred bytes. */
const MAX_ANSWER_BYTES = 64 * 1024;

export type PlatformAnswer =
  | { readonly kind: 'good'; readonly organization: OrganizationName }
  | { readonly kind: 'bad' }
  /** Neither: `problem` is for the log. */
  | { readonly kind: 'away'; readonly problem: string };

/** The platform cannot be asked: 503, and never a guess. */
export class PlatformAway extends OciError {
  constructor(problem: string) {
    super('UNAVAILABLE', {
      message: 'the platform that this registry asks about tokens does not answer: try again',
      headers: { 'Retry-After': '5' },
      cause: new Error(`the platform, asked about a token: ${problem}`),
    });
  }
}

export interface PlatformCallOptions {
  readonly fetcher?: typeof fetch;
  readonly milliseconds?: number;
}

/** Never rejects. @param url the platform's base URL, without a slash at its end */
export async function askPlatform(
  url: string,
  token: string,
  { fetcher = fetch, milliseconds = CALL_MILLISECONDS }: PlatformCallOptions = {},
): Promise<PlatformAnswer> {
  const controller = new AbortController();
  const late = Promise.withResolvers<PlatformAnswer>();
  const timer = setTimeout(() => {
    late.resolve({ kind: 'away', problem: `no answer within ${milliseconds} ms` });
    controller.abort();
  }, milliseconds);
  const answered = answerOf(fetcher, url, token, controller.signal).catch((): PlatformAnswer => {
    return { kind: 'away', problem: 'it could not be reached, or broke off' };
  });
  const answer = await Promise.race([answered, late.promise]);
  clearTimeout(timer);
  // Whatever is still under way is of no use to anyone.
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
    // 403 is also what stands before the platform says to all that Berth asks: then it says nothing of the token.
    if (status === 403 && isRefusal((await textOf(response, MAX_ANSWER_BYTES)) ?? '')) return { kind: 'bad' };
    await response.body?.cancel();
    return status === 401 ? { kind: 'bad' } : { kind: 'away', problem: `status ${status}` };
  }
  const body = await textOf(response, MAX_ANSWER_BYTES);
  if (body === undefined) return { kind: 'away', problem: `an answer of more than ${MAX_ANSWER_BYTES} bytes` };
  const organization = organizationIn(body);
  if (organization === undefined) return { kind: 'away', problem: 'an answer that names no organization as it should' };
  return { kind: 'good', organization };
}

/** Undefined for more than `limit` bytes, of which no more is read. */
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
