/**
 * Documents that are pushed as manifests: good ones, ones with one or two bad fields, and bytes that are not a
 * document.
 */
import * as fc from 'fast-check';
import { DOCKER_IMAGE, DOCKER_LIST, DOCKER_SCHEMA_1, type Json, OCI_IMAGE, OCI_INDEX } from '../model/manifests.ts';
import { headerText } from './headers.ts';
import { anyTag, badDigest, goodDigest, goodTag } from './names.ts';

/** Placeholders for digests of blobs, which the test knows only after it has pushed them. */
export const BLOBS = ['blob:config', 'blob:layer', 'blob:sha512', 'blob:of-bob'] as const;

export interface ManifestCase {
  readonly document: { readonly [key: string]: Json };
  readonly contentType: string | undefined;
  readonly encoding: Encoding;
  /** Grows the document by an extra field, or by more descriptors. */
  readonly growth: Growth;
  readonly reference:
    | { readonly tag: string }
    | { readonly algorithm: 'sha256' | 'sha512'; readonly isRight: boolean; readonly tags: readonly string[] }
    | { readonly digest: string };
  readonly streamed: boolean;
}

export type Encoding =
  | 'plain'
  | 'spaced'
  | 'marked'
  | 'cut'
  | 'trailing'
  | 'not UTF-8'
  | 'as list'
  | 'as text'
  | 'empty'
  | 'repeated';

export type Growth =
  | 'none'
  | { readonly depth: number }
  | { readonly values: number }
  | { readonly descriptors: number }
  | { readonly bytes: number };

const type = fc.constantFrom(
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.oci.image.layer.v1.tar',
  'a/b',
);
const foreign = fc.constantFrom(
  'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  'application/vnd.docker.image.rootfs.foreign.diff.tar',
  'application/vnd.docker.image.rootfs.foreign.diff.tar.zstd',
);

/** Bytes of each blob. */
export const BLOB_SIZE = 30;
const present = fc.constantFrom(...BLOBS.slice(0, 3));
const size = fc.constant(BLOB_SIZE);
const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 4 }) },
  { weight: 1, arbitrary: fc.constant(null) },
);
const oneOfThem: fc.Arbitrary<Json> = fc.constantFrom<Json>(
  null,
  true,
  5,
  'x',
  'eA==',
  [],
  ['a'],
  [5],
  {},
  { a: 'b' },
  { a: 5 },
);
/** Optional fields of a descriptor, with values of the right and of other types. */
const optional: fc.Arbitrary<Record<string, Json>> = fc.oneof(
  { weight: 12, arbitrary: fc.constant({}) },
  {
    weight: 4,
    arbitrary: fc.record({
      urls: fc.array(fc.webUrl(), { maxLength: 2 }),
      annotations: fc.dictionary(fc.string({ maxLength: 4 }), fc.string({ maxLength: 4 }), { maxKeys: 2 }),
      data: fc.base64String({ maxLength: 12 }),
      platform: fc.record({
        os: text,
        architecture: text,
        'os.features': fc.array(fc.string({ maxLength: 4 }), { maxLength: 2 }),
      }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        fc.constantFrom('urls', 'annotations', 'data', 'artifactType', 'platform', 'Size', 'URLS', 'unknown'),
        oneOfThem,
      )
      .map(([key, value]) => ({ [key]: value })),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom('os', 'os.version', 'os.features', 'variant', 'features', 'OS', 'unknown'), oneOfThem)
      .map(([key, value]) => ({ platform: { [key]: value } })),
  },
);
const descriptor: fc.Arbitrary<Json> = fc.oneof(
  {
    weight: 20,
    arbitrary: fc
      .tuple(fc.record({ mediaType: type, digest: present, size }), optional)
      .map(([required, more]) => Object.assign({}, required, more)),
  },
  { weight: 1, arbitrary: fc.record({ mediaType: type, digest: present, size: fc.nat(99) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      mediaType: fc.oneof(type, foreign),
      digest: fc.oneof(goodDigest, fc.constant('blob:of-bob')),
      size: fc.nat(99),
    }),
  },
);

const scalar: fc.Arbitrary<Json> = fc.constantFrom<Json>(null, true, 0, -1, 'x', '', [], {}, [[]]);
const badDescriptor: fc.Arbitrary<Json> = fc.oneof(
  scalar,
  fc.record({ mediaType: type, digest: badDigest, size: fc.nat(99) }),
  fc.record({
    mediaType: type,
    digest: present,
    size: fc.constantFrom<Json>(-1, 0.5, 2 ** 53, 1e300, '1', null, true),
  }),
  fc.record({ mediaType: fc.constantFrom<Json>(null, '', 5, [], {}), digest: present, size: fc.constant(1) }),
  fc.record({ digest: fc.constantFrom<Json>(null, 5, [], {}), size: fc.constant(1) }),
  fc.record({ mediaType: fc.constantFrom('a'.repeat(255), 'a'.repeat(256)), digest: present, size: fc.constant(1) }),
  fc.record({ digest: present, size }),
  fc.record({ digest: present }),
);

const list = fc.array(descriptor, { maxLength: 3 });
const mostly = (good: fc.Arbitrary<Json>, bad: fc.Arbitrary<Json>): fc.Arbitrary<Json> =>
  fc.oneof({ weight: 12, arbitrary: good }, { weight: 1, arbitrary: bad });
const one = mostly(descriptor, fc.oneof(badDescriptor, list));
const several = mostly(
  list,
  fc.oneof(scalar, descriptor, fc.tuple(badDescriptor), fc.tuple(descriptor, badDescriptor)),
);

const fields = {
  config: fc.record({ config: one }),
  layers: fc.record({ layers: several }),
  manifests: fc.record({ manifests: several }),
  blobs: fc.record({ blobs: several }),
  subject: fc.record({ subject: one }),
  annotations: fc.record({ annotations: fc.oneof(fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }), scalar) }),
  artifactType: fc.record({
    artifactType: fc.oneof(scalar, headerText, fc.constantFrom('a'.repeat(255), 'a'.repeat(256))),
  }),
  version: fc.record({ schemaVersion: fc.constantFrom<Json>(1, 2, 3, '1', null) }),
  variant: fc.constantFrom<Record<string, Json>>(
    { Layers: [] },
    { CONFIG: {} },
    { manifestS: [] },
    { Subject: null },
    { mediatype: 'a/b' },
    { MediaType: OCI_INDEX },
    { Annotations: {} },
    { schemaversion: 2 },
    { ArtifactType: 'a/b' },
  ),
  other: fc.dictionary(
    fc.string({ unit: 'grapheme', maxLength: 8 }),
    fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<Json>,
    {
      maxKeys: 2,
    },
  ),
};

const OTHER_TYPE = 'application/vnd.example.thing+json';
const TYPES = [
  OCI_IMAGE,
  OCI_IMAGE,
  OCI_IMAGE,
  OCI_INDEX,
  OCI_INDEX,
  DOCKER_IMAGE,
  DOCKER_LIST,
  OTHER_TYPE,
  OTHER_TYPE,
  ...DOCKER_SCHEMA_1,
];

const extra = fc.constantFrom(
  'none',
  'none',
  'none',
  'subject',
  'subject',
  'annotations',
  'artifactType',
  'other',
  'version',
  'variant',
  'manifests',
  'layers',
  'config',
  'blobs',
);

function documentOf(mediaType: string): fc.Arbitrary<{ readonly [key: string]: Json }> {
  const isImage = mediaType === OCI_IMAGE || mediaType === DOCKER_IMAGE;
  const isIndex = mediaType === OCI_INDEX || mediaType === DOCKER_LIST;
  const own = isImage
    ? fc.tuple(fields.config, fields.layers)
    : isIndex
      ? fc.tuple(fields.manifests)
      : fc.tuple(fc.oneof(fields.blobs, fields.layers, fields.manifests));
  const added = extra.chain((key) =>
    key === 'none' ? fc.constant({}) : (fields[key] as fc.Arbitrary<Record<string, Json>>),
  );
  const left = fc.oneof(
    { weight: 12, arbitrary: fc.constant('') },
    { weight: 1, arbitrary: fc.constantFrom('config', 'layers', 'manifests') },
  );
  return fc.tuple(own, added, left).map(([parts, more, without]) => {
    const document: Record<string, Json> = Object.assign({ schemaVersion: 2 }, ...parts, more);
    return Object.fromEntries(Object.entries(document).filter(([key]) => key !== without && key !== '__proto__'));
  });
}

/** The Content-Type and the field `mediaType`: correct, or one of them missing, different, or invalid. */
const typing = fc.oneof(
  { weight: 5, arbitrary: fc.constant('both' as const) },
  { weight: 5, arbitrary: fc.constantFrom('header' as const, 'field' as const, 'parameter' as const) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('neither' as const, 'different' as const, 'bad header' as const, 'bad field' as const),
  },
);
const badType = fc.oneof(
  fc.constantFrom('', 'json', 'a/', '/b', 'a/b/c', 'a b/c', '-a/b', `a/${'b'.repeat(128)}`, 'a/b,c/d', 'a/*'),
  headerText,
);

const growth: fc.Arbitrary<Growth> = fc.oneof(
  { weight: 120, arbitrary: fc.constant('none' as const) },
  { weight: 4, arbitrary: fc.record({ depth: fc.integer({ min: 61, max: 66 }) }) },
  { weight: 1, arbitrary: fc.record({ depth: fc.constantFrom(1000, 100_000) }) },
  { weight: 1, arbitrary: fc.record({ values: fc.constantFrom(150_000, 201_000) }) },
  { weight: 1, arbitrary: fc.record({ descriptors: fc.constantFrom(4000, 4096, 4097, 4100) }) },
  {
    weight: 1,
    arbitrary: fc.record({ bytes: fc.constantFrom(4 * 2 ** 20 - 1, 4 * 2 ** 20, 4 * 2 ** 20 + 1, 5 * 2 ** 20) }),
  },
);

const encoding: fc.Arbitrary<Encoding> = fc.oneof(
  { weight: 20, arbitrary: fc.constantFrom<Encoding>('plain', 'plain', 'spaced', 'marked', 'repeated') },
  { weight: 1, arbitrary: fc.constantFrom<Encoding>('cut', 'trailing', 'not UTF-8', 'as list', 'as text', 'empty') },
);

const reference: fc.Arbitrary<ManifestCase['reference']> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ tag: goodTag }) },
  { weight: 1, arbitrary: fc.record({ tag: anyTag }) },
  {
    weight: 6,
    arbitrary: fc.record({
      algorithm: fc.constantFrom('sha256' as const, 'sha256' as const, 'sha512' as const),
      isRight: fc.oneof({ weight: 8, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
      tags: fc.oneof(
        { weight: 8, arbitrary: fc.array(goodTag, { maxLength: 4 }) },
        { weight: 1, arbitrary: fc.array(anyTag, { maxLength: 3 }) },
        {
          weight: 1,
          arbitrary: fc.integer({ min: 98, max: 103 }).map((count) => Array.from({ length: count }, (_, i) => `t${i}`)),
        },
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ digest: badDigest }) },
);

const typed = fc.tuple(fc.constantFrom(...TYPES), typing, badType).chain(([mediaType, how, bad]) => {
  const hasField = how !== 'header' && how !== 'neither';
  const field: Json = how === 'bad field' ? bad : how === 'different' ? OCI_INDEX.replace('v1', 'v3') : mediaType;
  const header = {
    both: mediaType,
    header: mediaType,
    field: undefined,
    parameter: `${mediaType}; charset=utf-8`,
    neither: undefined,
    different: mediaType,
    'bad header': bad,
    'bad field': undefined,
  }[how];
  return documentOf(mediaType).map((document) => ({
    contentType: header,
    document: hasField ? { mediaType: field, ...document } : document,
  }));
});

export const manifestCases: fc.Arbitrary<ManifestCase> = fc
  .tuple(typed, fc.record({ encoding, growth, reference, streamed: fc.boolean() }))
  .map(([first, rest]) => Object.assign({}, first, rest));
