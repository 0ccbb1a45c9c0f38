/** The schemas of the management API for images: their lists, replication states, histories and pins. */
import { z } from '@hono/zod-openapi';
import { wholeNumber } from '../whole-number.ts';
import { pageQuery } from './paging.ts';
import { repositoryParam, time, visibility } from './schemas.ts';

export const imageParam = repositoryParam.extend({
  reference: z.string().openapi({ description: 'A tag or a digest' }),
});

export const imagesQuery = pageQuery.extend({
  last: z.string().default('').openapi({ description: '`last` of the previous page' }),
  untagged: z.enum(['false', 'true', 'only']).default('false').openapi({
    description: 'true: untagged manifests follow at the end. only: the list has nothing else',
  }),
});

export const listedImage = z
  .object({
    digest: z.string(),
    tags: z.array(z.object({ name: z.string(), pushed_at: time })),
    created_at: time.openapi({ description: 'When the manifest was last pushed' }),
    size: z.int().openapi({
      description: "Bytes of the image's distinct blobs; for an index, of all that it lists and the store has",
    }),
    kind: z.enum(['', 'initrd', 'rom']),
  })
  .openapi('ListedImage');

export const pinParam = imageParam.extend({ node: z.string().openapi({ description: 'The name of a node' }) });
export const pin = z.object({ node: z.string(), pinned_at: time }).openapi('Pin');

export const waitQuery = z.object({
  wait: z.coerce.number().min(0).max(60).default(0).openapi({ description: 'Seconds to wait for a final state' }),
});

/** A version that a push returned in `Berth-Version`. */
const versionOfPush = z
  .string()
  .optional()
  .transform((text = '', context) => {
    if (text === '') return undefined;
    const version = wholeNumber(text);
    if (version !== undefined && version >= 1 && version < Number.MAX_SAFE_INTEGER) return version;
    context.addIssue({ code: 'custom', message: 'must be a version that a push returned in Berth-Version' });
    return z.NEVER;
  });

export const stateQuery = waitQuery.extend({
  for: z.enum(['announced', 'settled']).default('settled').openapi({
    description: 'The state to wait for. A parked or superseded write ends the wait too',
  }),
  version: versionOfPush.openapi({
    type: 'integer',
    description:
      "The version of the write to show: Berth-Version in the answer to the push. The default is the host's latest " +
      "write. If two stores have a write of this version, the host's own is shown, or else the one that won",
  }),
});

const amount = z.object({ copied: z.int(), total: z.int() });

export const image = z
  .object({
    digest: z.string().nullable().openapi({ description: 'null if a deletion has won over the write' }),
    state: z.enum(['pending', 'announced', 'settled', 'parked', 'superseded']).openapi({
      description:
        'superseded: another write or a deletion has won and is announced. ' +
        'All fields but `version` then describe the winner',
    }),
    version: z.int().openapi({ description: 'The version of the requested write' }),
    origin: z.string().nullable().openapi({ description: 'The store that the tag was written at' }),
    blobs: amount.openapi({ description: 'The number of blobs that central has, and of all blobs' }),
    bytes: amount,
    attempts: z.int(),
    last_error: z.string().nullable(),
    locations: z.array(z.object({ store: z.string(), blobs: z.int(), bytes: z.int() })),
  })
  .openapi('Image');

export const historyEntry = z
  .object({
    version: z.int(),
    origin: z.string(),
    digest: z.string().nullable().openapi({ description: 'null for a deletion' }),
    author: z
      .string()
      .nullable()
      .openapi({
        description:
          'The name of the credential that wrote, or its id if it has no name. null for a write of Berth itself, ' +
          'and for callers who may only read what is public',
      }),
    replaced_at: time
      .nullable()
      .openapi({ description: 'When a store learned of the write that replaced this one; null if none did' }),
    stores: z.array(z.string()).openapi({ description: 'The stores that know of the write' }),
    current: z.boolean(),
    restorable: z.boolean().openapi({ description: 'false for a deletion, and if the manifest was deleted' }),
  })
  .openapi('HistoryEntry');

/** `<version>.<origin>` of the last entry on a page. */
const WRITE_POSITION = /^(\d{1,16})\.([a-z0-9-]*)$/;

export const historyQuery = pageQuery.extend({
  last: z
    .string()
    .transform((text, context) => {
      if (text === '') return undefined;
      const [, version, origin] = WRITE_POSITION.exec(text) ?? [];
      if (version !== undefined && origin !== undefined) return { version: Number(version), origin };
      context.addIssue({ code: 'custom', message: 'must be `last` of the previous page' });
      return z.NEVER;
    })
    .optional()
    .openapi({ type: 'string', description: '`last` of the previous page' }),
});

export const restoreRequest = z.strictObject({ version: z.int(), origin: z.string() }).openapi('Restore');
export const prefetchRequest = z.strictObject({ node: z.string() }).openapi('Prefetch');
export const prefetched = z
  .object({
    node: z.string(),
    digest: z.string(),
    blobs: amount,
    done: z.boolean(),
    complete: z.boolean().openapi({
      description: 'false if only a part is copied, because of a limit; pulls get the rest from elsewhere',
    }),
  })
  .openapi('Prefetched');

export const sharedBlob = z
  .object({
    blob: z.string().openapi({ description: 'The digest of a layer or of the config' }),
    images: z.array(z.object({ repository: z.string(), digest: z.string(), tag: z.string().nullable() })).openapi({
      description: 'Some of the other images that have it, each with one of its tags',
    }),
  })
  .openapi('SharedBlob');

export const latestPush = z
  .object({
    repository: z.string().openapi({ example: 'alice/app' }),
    tag: z.string().openapi({ description: 'One of the tags on the manifest' }),
    pushed_at: time.openapi({ description: 'When the tag was pushed' }),
    origin: z.string().openapi({ description: 'The store that took the push' }),
  })
  .openapi('LatestPush');

export const listedRepository = z
  .object({
    name: z.string().openapi({ example: 'alice/app' }),
    visibility,
    pushed_at: time.openapi({ description: 'The hour of the last push of a tag, as far as central knows' }),
    pulled_at: time.nullable().openapi({
      description: 'The hour of the last pull from any store that answers; null if there was none',
    }),
    tags: z.int().openapi({ description: 'Tags at central, 100 at most' }),
    more_tags: z.boolean().openapi({ description: 'Whether there may be more tags than these' }),
    bytes: z.int().nullable().openapi({
      description:
        'Bytes of its distinct blobs, which are added up once a day; null if others of its organization are larger',
    }),
  })
  .openapi('ListedRepository');
