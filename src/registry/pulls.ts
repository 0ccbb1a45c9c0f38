/**
 * Pulls by the hour, as Analytics Engine counted them (`http/request-log.ts`). A deployment reads them back with the
 * SQL API (https://developers.cloudflare.com/analytics/analytics-engine/sql-api/). Its figures are estimates, because
 * Analytics Engine keeps a sample of many data points.
 */
import { z } from 'zod';
import { BoundedCache } from '../bounded-cache.ts';
import type { Analytics, Config } from '../config.ts';
import { HOUR, MINUTE } from '../durations.ts';
import { logFailure } from '../log.ts';
import { OciError } from '../oci/errors.ts';
import type { RepositoryName } from '../oci/reference.ts';

/** The most hours in a series: 30 days. */
export const MOST_HOURS_OF_PULLS = 720;

/** The longest that a query may take, to the end of its answer. */
const ASK_MILLISECONDS = 1000;
/** The most bytes of an answer. An hour takes about 50. */
const MAX_ANSWER_BYTES = 256 * 1024;
/** The time for which an isolate keeps an answer, or that there was none. */
const KEPT_MILLISECONDS = MINUTE;
const CACHE_BYTES = 1024 ** 2;

/** The name of the dataset in wrangler.toml. */
const DATASET = 'berth_requests';

interface HourOfPulls {
  /** The start of the hour, in milliseconds since the epoch. */
  readonly at: number;
  readonly pulls: number;
}

interface Kept {
  readonly askedAt: number;
  /** Undefined if Analytics Engine did not answer. */
  readonly hours: readonly HourOfPulls[] | undefined;
}

export class Pulls {
  readonly #analytics: Analytics;
  readonly #hosts: readonly string[];
  readonly #fetcher: typeof fetch;
  readonly #kept = new BoundedCache<Kept>(CACHE_BYTES);

  /** @param config the hosts whose requests count: an account can have several deployments */
  constructor(analytics: Analytics, { hosts }: Pick<Config, 'hosts'>, fetcher: typeof fetch = fetch) {
    this.#analytics = analytics;
    this.#hosts = hosts.map(({ host }) => host);
    this.#fetcher = (...request) => fetcher(...request);
  }

  /**
   * Returns how often manifests were pulled in each of the last hours, oldest first. Hours without a pull are left out.
   * @param repository undefined for all of them
   * @param now in milliseconds since the epoch
   * @throws OciError UNAVAILABLE
   */
  async byHour(repository: RepositoryName | undefined, hours: number, now: number): Promise<readonly HourOfPulls[]> {
    const key = `${hours} ${repository ?? ''}`;
    let kept = this.#kept.get(key);
    if (kept === undefined || Math.abs(now - kept.askedAt) >= KEPT_MILLISECONDS) {
      const from = now - (now % HOUR) - (hours - 1) * HOUR;
      const found = await this.#ask(questionOf(this.#hosts, repository, from));
      kept = { askedAt: now, hours: found?.filter(({ at }) => at >= from && at <= now) };
      this.#kept.set(key, kept);
    }
    if (kept.hours === undefined)
      throw new OciError('UNAVAILABLE', { message: 'Analytics Engine does not answer: try again in a minute' });
    return kept.hours;
  }

  /** Returns undefined, and logs why, if there is no answer in time, or one that makes no sense. */
  async #ask(question: string): Promise<HourOfPulls[] | undefined> {
    const { url, token } = this.#analytics;
    const signal = AbortSignal.timeout(ASK_MILLISECONDS);
    try {
      const headers = { Authorization: `Bearer ${token}` };
      const response = await this.#fetcher(url, {
        method: 'POST',
        headers,
        body: question,
        redirect: 'manual',
        signal,
      });
      const text = response.ok ? await textOf(response) : undefined;
      const { data } = answer.safeParse(text === undefined ? undefined : JSON.parse(text));
      if (data !== undefined) return data.data.map(({ hour, pulls }) => ({ at: hour * 1000, pulls }));
      if (text === undefined) await response.body?.cancel();
      logFailure({ analytics: `an answer of status ${response.status} that has no figures` });
    } catch (error) {
      // The message of another error could contain a part of the request.
      logFailure({ analytics: error instanceof Error ? error.name : 'failed' });
    }
    return undefined;
  }
}

/** Analytics Engine writes numbers of 64 bits as strings. */
const whole = z
  .union([
    z.number(),
    z
      .string()
      .regex(/^\d{1,16}$/)
      .transform(Number),
  ])
  .pipe(z.int().nonnegative());
const answer = z.object({ data: z.array(z.object({ hour: whole, pulls: whole })) });

/** @param from milliseconds since the epoch */
function questionOf(hosts: readonly string[], repository: RepositoryName | undefined, from: number): string {
  return `
    SELECT intDiv(toUInt32(timestamp), 3600) * 3600 AS hour, SUM(_sample_interval) AS pulls
    FROM ${DATASET}
    WHERE timestamp >= toDateTime(${from / 1000}) AND index1 IN (${hosts.map(quoted).join(', ')})
      AND blob1 = 'manifests' AND blob2 = 'GET' AND blob3 = '200'
      ${repository === undefined ? '' : `AND blob6 = ${quoted(repository)}`}
    GROUP BY hour ORDER BY hour FORMAT JSON`;
}

/**
 * Returns a text as a string literal. Quotes and backslashes are doubled, so the text cannot close the literal, whether
 * or not the dialect takes a backslash as an escape. No valid host or name has either character.
 */
function quoted(text: string): string {
  return `'${text.replaceAll(/['\\]/g, '$&$&')}'`;
}

/** Reads the body; returns undefined, and stops reading, after {@link MAX_ANSWER_BYTES}. */
async function textOf({ body }: Response): Promise<string | undefined> {
  const decoder = new TextDecoder();
  let text = '';
  let size = 0;
  // Leaving the loop cancels the body.
  for await (const piece of body ?? []) {
    size += piece.byteLength;
    if (size > MAX_ANSWER_BYTES) return undefined;
    text += decoder.decode(piece, { stream: true });
  }
  return text + decoder.decode();
}
