/** The schemas of the management API for figures over time and by repository. */
import { z } from '@hono/zod-openapi';
import { wholeNumber } from '../whole-number.ts';
import { quotaBytes, time } from './schemas.ts';

/** Returns the schema of `hours`, the number of hours in a series. */
export const hoursQuery = (most: number) =>
  z.object({
    hours: z
      .string()
      .default('24')
      .transform((text, context) => {
        const hours = wholeNumber(text);
        if (hours !== undefined && hours >= 1 && hours <= most) return hours;
        context.addIssue({ code: 'custom', message: `must be a whole number from 1 to ${most}` });
        return z.NEVER;
      })
      .openapi({
        type: 'integer',
        minimum: 1,
        maximum: most,
        default: 24,
        description: `The number of hours to show, the current one included: ${most} at most`,
      }),
  });

const histogram = z
  .object({ buckets: z.array(z.int()), count: z.int(), sum: z.number().openapi({ description: 'Seconds' }) })
  .openapi({
    description: 'The number of values within each of `bucket_seconds`, and the number and the sum of all values',
  });

export const hourOfQueue = z
  .object({
    at: time.openapi({ description: 'The start of the hour' }),
    manifests: z.int().openapi({ description: 'Manifests that were pushed to the node and announced to central' }),
    announced: z.int().openapi({ description: 'Tags and manifests announced' }),
    announce_seconds: histogram,
    settled: z.int().openapi({ description: 'Blobs that were copied to central' }),
    settle_seconds: histogram,
    deletions: z.int().openapi({ description: "Deletions applied from central's change log" }),
    copied_up_bytes: z.int(),
    copied_down_bytes: z.int(),
    retries: z.int().openapi({ description: 'Failed attempts' }),
    held_bytes: z
      .int()
      .nullable()
      .openapi({
        description:
          'Bytes of blobs in the store. Null if its node has no limit, because they are not counted then. Also ' +
          'null in the figures of all queues together',
      }),
  })
  .openapi('HourOfQueue');

export const queueSeries = z
  .object({
    bucket_seconds: z.array(z.number()).openapi({ description: 'The upper bounds of the buckets, in seconds' }),
    hours: z.array(hourOfQueue).openapi({ description: 'Oldest first. An hour without activity is left out' }),
    complete: z.boolean().openapi({ description: 'false if a queue does not answer, so that its figures are missing' }),
  })
  .openapi('QueueSeries');

export const pushesByHour = z
  .object({
    hours: z
      .array(
        z.object({
          at: time.openapi({ description: 'The start of the hour' }),
          manifests: z.int().openapi({
            description: 'Manifests that are new at central: pushed to it, or announced by nodes',
          }),
        }),
      )
      .openapi({ description: 'Oldest first. An hour at whose start or end maintenance did not run is left out' }),
  })
  .openapi('PushesByHour');

export const pullsByHour = z
  .object({
    counted: z.boolean().openapi({
      description: 'false if ANALYTICS_URL or ANALYTICS_TOKEN is not set. Pulls cannot be read then',
    }),
    hours: z
      .array(
        z.object({
          at: time.openapi({ description: 'The start of the hour' }),
          pulls: z.int().openapi({
            description: 'GET requests for a manifest that succeeded, as Analytics Engine estimates them',
          }),
        }),
      )
      .openapi({ description: 'Oldest first. An hour without a pull is left out' }),
  })
  .openapi('PullsByHour');

export const usageDays = z
  .object({
    days: z
      .array(
        z.object({
          day: z.iso.date().openapi({ description: 'In UTC' }),
          used: z.int().openapi({ description: 'Bytes that counted against the quota, as far as central knew' }),
          quota: quotaBytes,
        }),
      )
      .openapi({ description: 'The days of the last 90 for which maintenance has noted the usage, oldest first' }),
  })
  .openapi('UsageDays');

export const repositoriesUsage = z
  .object({
    measured_at: time.nullable().openapi({ description: 'null until the repositories have been measured' }),
    repositories: z
      .array(
        z.object({
          name: z.string().openapi({ example: 'alice/app' }),
          bytes: z.int().openapi({ description: 'Bytes of its distinct blobs' }),
          unshared: z.int().openapi({ description: 'The part of `bytes` that no other repository has' }),
          share: z.int().openapi({
            description: 'The bytes, with each blob divided among the repositories of the organization that have it',
          }),
        }),
      )
      .openapi({ description: 'The 50 with the largest shares, without those that the caller does not administer' }),
    others: z
      .object({ repositories: z.int(), bytes: z.int() })
      .openapi({ description: 'All others: their number, and the sum of their shares' }),
  })
  .openapi('RepositoriesUsage');
