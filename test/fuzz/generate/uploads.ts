/** Steps of clients that upload: most in order, some not. */
import * as fc from 'fast-check';
import { badContentLength, badContentRange } from './headers.ts';
import { badDigest } from './names.ts';

export const REPOSITORIES = ['alice/app', 'alice/team/x', 'bob/app'] as const;
export type RepositoryOfCase = (typeof REPOSITORIES)[number];
export const UPLOADERS = ['alice', 'aliceApp', 'bob'] as const;
export type Uploader = (typeof UPLOADERS)[number];

export type NamedDigest =
  | { readonly of: 'all' | 'body' | 'other' | 'last'; readonly algorithm: 'sha256' | 'sha512' }
  | { readonly text: string }
  | 'none';

/** The ways in which a request changes the URL that it was given. */
export type Tampering =
  | 'none'
  | 'another repository'
  | 'another user'
  | { readonly put: string; readonly at: number; readonly instead: boolean }
  | { readonly field: 0 | 1 | 2 | 3; readonly value: string };

/** A body: its bytes, or `size` times the byte `of`. */
export type StatedBody = readonly number[] | { readonly size: number; readonly of: number };

export type ChunkRange =
  | 'none'
  | 'right'
  | { readonly startBy: number; readonly endBy: number }
  | { readonly text: string };

export type Step =
  | {
      readonly kind: 'open';
      readonly user: Uploader;
      readonly repository: RepositoryOfCase;
      readonly algorithm: string | undefined;
    }
  | {
      readonly kind: 'whole';
      readonly user: Uploader;
      readonly repository: RepositoryOfCase;
      readonly body: readonly number[];
      readonly streamed: boolean;
      readonly digest: NamedDigest;
    }
  | {
      readonly kind: 'mount';
      readonly user: Uploader;
      readonly repository: RepositoryOfCase;
      /** Index of a blob that was pushed before; an unknown digest if there is none. */
      readonly blob: number;
      readonly from: RepositoryOfCase | 'no name' | undefined;
      readonly digest: string | undefined;
    }
  | { readonly kind: 'delete blob'; readonly blob: number }
  | {
      readonly kind: 'session';
      readonly method: 'GET' | 'PATCH' | 'PUT' | 'DELETE';
      readonly session: number;
      /** The number of the session's URL that is used, counted from the newest. */
      readonly age: number;
      readonly tampering: Tampering;
      readonly range: ChunkRange;
      readonly body: StatedBody | undefined;
      readonly streamed: boolean;
      readonly digest: NamedDigest;
      /** An invalid Content-Length. */
      readonly length: string | undefined;
    };

const algorithm = fc.constantFrom('sha256' as const, 'sha256' as const, 'sha512' as const);
const rarely = <Value>(value: Value, arbitrary: fc.Arbitrary<Value>, weight = 6): fc.Arbitrary<Value> =>
  fc.oneof({ weight, arbitrary: fc.constant(value) }, { weight: 1, arbitrary });

const digest: fc.Arbitrary<NamedDigest> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ of: fc.constant('all' as const), algorithm }) },
  {
    weight: 3,
    arbitrary: fc.record({ of: fc.constantFrom('body' as const, 'other' as const, 'last' as const), algorithm }),
  },
  { weight: 1, arbitrary: badDigest.map((text) => ({ text })) },
  { weight: 1, arbitrary: fc.constant('none' as const) },
);

/** Uses few different bytes, so that the same blobs recur. */
const bytes = fc.array(fc.nat(1), { maxLength: 4 });

const tampering: fc.Arbitrary<Tampering> = fc.oneof(
  { weight: 24, arbitrary: fc.constant('none' as const) },
  { weight: 1, arbitrary: fc.constantFrom('another repository' as const, 'another user' as const) },
  {
    weight: 1,
    arbitrary: fc.record({
      put: fc.constantFrom('', 'a', '0', '.', 'A', '-', '%2F', 'é'),
      at: fc.nat(200),
      instead: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      field: fc.constantFrom(0 as const, 1 as const, 2 as const, 3 as const),
      value: fc.constantFrom(
        '0',
        '1',
        '3',
        '00',
        '-1',
        '1e3',
        '',
        '9'.repeat(16),
        'sha512',
        'sha256',
        'md5',
        '99999999999999',
      ),
    }),
  },
);

const shiftedRange = fc.record({ startBy: fc.integer({ min: -2, max: 2 }), endBy: fc.integer({ min: -2, max: 2 }) });
const range: fc.Arbitrary<ChunkRange> = fc.oneof(
  { weight: 6, arbitrary: fc.constant('none' as const) },
  { weight: 4, arbitrary: fc.constant('right' as const) },
  { weight: 2, arbitrary: shiftedRange },
  { weight: 1, arbitrary: badContentRange.map((text) => ({ text })) },
);

const user = rarely<Uploader>('alice', fc.constantFrom(...UPLOADERS), 4);
const repository = rarely<RepositoryOfCase>('alice/app', fc.constantFrom(...REPOSITORIES), 3);

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('open' as const),
      user,
      repository,
      algorithm: rarely<string | undefined>(
        undefined,
        fc.constantFrom('sha256', 'sha512', 'sha512', 'md5', '', 'SHA256'),
        2,
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('whole' as const),
      user,
      repository,
      body: bytes,
      streamed: fc.boolean(),
      digest,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('mount' as const),
      user,
      repository,
      blob: fc.nat(5),
      from: fc.constantFrom(undefined, ...REPOSITORIES, 'no name' as const),
      digest: rarely<string | undefined>(undefined, badDigest),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('delete blob' as const), blob: fc.nat(5) }) },
  {
    weight: 14,
    arbitrary: fc.record({
      kind: fc.constant('session' as const),
      method: fc.constantFrom('GET', 'PATCH', 'PATCH', 'PATCH', 'PUT', 'PUT', 'DELETE'),
      session: fc.nat(2),
      age: rarely(0, fc.nat(3), 4),
      tampering,
      range,
      body: fc.option(bytes, { nil: undefined, freq: 4 }),
      streamed: fc.boolean(),
      digest,
      length: rarely<string | undefined>(undefined, badContentLength, 20),
    }),
  },
);

const opening: Step = { kind: 'open', user: 'alice', repository: 'alice/app', algorithm: undefined };

/** Lists of steps, each of which begins by opening a session. */
export const steps: fc.Arbitrary<readonly Step[]> = fc
  .array(step, { minLength: 1, maxLength: 6 })
  .map((more) => (more[0]?.kind === 'open' ? more : more.toSpliced(0, 0, opening)));

/** The size of the smallest part that R2 allows in a multipart upload, other than the last. */
export const LEAST_PART = 5 * 1024 ** 2;

const large = fc.record({
  size: rarely(
    LEAST_PART,
    fc.constantFrom(LEAST_PART - 1, LEAST_PART + 1, 2 * LEAST_PART, 2 * LEAST_PART + 1, LEAST_PART / 2),
    1,
  ),
  of: fc.nat(1),
});

const partStep: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('session' as const),
  method: fc.oneof(
    { weight: 8, arbitrary: fc.constant('PATCH' as const) },
    { weight: 2, arbitrary: fc.constant('PUT' as const) },
    { weight: 1, arbitrary: fc.constantFrom('GET' as const, 'DELETE' as const) },
  ),
  session: fc.constant(0),
  age: rarely(0, fc.nat(2)),
  tampering: fc.constant('none' as const),
  range: fc.oneof(
    { weight: 10, arbitrary: fc.constant('right' as const) },
    { weight: 1, arbitrary: fc.constant('none' as const) },
    { weight: 1, arbitrary: shiftedRange },
  ),
  body: fc.oneof<fc.WeightedArbitrary<StatedBody | undefined>[]>(
    { weight: 6, arbitrary: large },
    { weight: 1, arbitrary: bytes },
    { weight: 1, arbitrary: fc.constant(undefined) },
  ),
  streamed: rarely(false, fc.constant(true), 3),
  digest,
  length: fc.constant(undefined),
});

/** Returns a valid request without a body for session 0, with `changes`. */
export function on(
  method: 'GET' | 'PATCH' | 'PUT' | 'DELETE',
  changes: Partial<Extract<Step, { kind: 'session' }>> = {},
): Step {
  return {
    kind: 'session',
    session: 0,
    age: 0,
    tampering: 'none',
    range: 'none',
    body: undefined,
    streamed: false,
    digest: { of: 'all', algorithm: 'sha256' },
    length: undefined,
    method,
    ...changes,
  };
}

const closing = on('PUT');

/** Steps of one session, most of whose chunks can be parts of a multipart upload. Some lists end by closing it. */
export const stepsOfParts: fc.Arbitrary<readonly Step[]> = fc
  .tuple(
    fc.record({
      kind: fc.constant('open' as const),
      user: fc.constant('alice' as const),
      repository: fc.constant('alice/app' as const),
      algorithm: rarely<string | undefined>(undefined, fc.constant('sha512'), 4),
    }),
    fc.array(partStep, { minLength: 2, maxLength: 5 }),
    fc.subarray([closing]),
  )
  .map((some) => some.flat());
