/** The schemas of the management API for replication queues, and for forgetting a retired node's store. */
import { z } from '@hono/zod-openapi';

export const storeParam = z.object({
  store: z.string().regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/, 'must be the store of a node'),
});

export const forgetQuery = z.object({
  last: z.string().default('').openapi({ description: '`last` of the previous answer, until it is null' }),
  lost: z
    .stringbool({ truthy: ['true'], falsy: ['false'] })
    .default(false)
    .openapi({ type: 'boolean', description: 'If true, also forgets locations of blobs that central does not hold' }),
});

const seconds = z.int().nullable();

export const queue = z
  .object({
    store: z.string(),
    answers: z.boolean().openapi({ description: 'Whether the queue answers. If not, its counts are 0' }),
    depth: z.int().openapi({ description: 'Tags and manifests that are not yet announced to central' }),
    oldest_outbox_entry_seconds: seconds.openapi({
      description: 'Age of the oldest outbox entry; null if there is none',
    }),
    in_flight: z.int().openapi({ description: 'Blobs that are being copied now' }),
    copies_down: z.int().openapi({ description: 'Blobs that have yet to be copied down to the node' }),
    parked: z
      .int()
      .openapi({ description: 'Jobs that replication gave up on. They wait for an operator to retry them' }),
    paused: z.boolean(),
    copies_up: z
      .object({
        blobs: z.int(),
        bytes: z.int(),
        complete: z.boolean().openapi({ description: 'false in the list of queues if there are more than these' }),
      })
      .nullable()
      .openapi({ description: 'Blobs that have yet to be copied up to central; null if central does not answer' }),
    change_log: z.array(
      z.object({
        store: z.string(),
        position: z.int(),
        behind: z.int().openapi({
          description: "Positions in the change log after the node's, those of replaced entries included",
        }),
        seconds_since: seconds.openapi({
          description: 'Seconds since the node last read the change log; null if it never has',
        }),
      }),
    ),
  })
  .openapi('Queue');

export const queueChange = z.strictObject({ paused: z.boolean() }).openapi('QueueChange');
export const retryRequest = z
  .strictObject({ job: z.string().optional().openapi({ description: 'The default is all parked jobs' }) })
  .openapi('Retry');
export const parkedJob = z.object({ job: z.string(), attempts: z.int(), last_error: z.string() }).openapi('ParkedJob');

export const turns = z
  .object({
    copying: z
      .array(
        z.object({
          kind: z.enum(['copy up', 'copy down']),
          organization: z.string(),
          digest: z.string(),
          bytes: z.int().nullable().openapi({ description: 'null for a copy down, whose size is not known here' }),
        }),
      )
      .openapi({ description: 'Blobs that are being copied now' }),
    waiting: z.array(z.object({ organization: z.string(), blobs: z.int() })).openapi({
      description:
        'Blobs that were due when the queue last looked, up to 100 in each direction, by organization. ' +
        'Organizations take turns, with one blob each. The one whose turn is next comes first',
    }),
  })
  .openapi('Turns');

export const onlyHere = z
  .union([
    z.object({
      kind: z.enum(['tag', 'manifest']),
      repository: z.string(),
      key: z.string(),
      tag: z
        .string()
        .optional()
        .openapi({ description: 'A tag that was pushed with the manifest, and is not listed itself' }),
    }),
    z.object({
      kind: z.literal('blob'),
      organization: z.string(),
      key: z.string(),
      size: z.int(),
      elsewhere: z
        .boolean()
        .openapi({ description: 'Whether another node has it. If so, it would not be lost with this one' }),
    }),
  ])
  .openapi('OnlyHere');
