import { describe, expect, test } from 'vitest';
import { MAX_DEPTH, MAX_REFERENCES } from '../../src/oci/manifest-limits.ts';
import { type Manifest, parseManifest } from '../../src/oci/manifest.ts';
import {
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  OCI_IMAGE_INDEX,
  OCI_IMAGE_MANIFEST,
} from '../../src/oci/media-type.ts';

const OTHER_TYPE = 'application/vnd.example.thing.v1+json';
const SCHEMA_1 = 'application/vnd.docker.distribution.manifest.v1+json';

const digest = (n: number): string => `sha256:${n.toString(16).padStart(64, '0')}`;
const descriptor = (n: number) => ({ mediaType: 'application/x', digest: digest(n), size: n });
const image = { schemaVersion: 2, config: descriptor(1), layers: [descriptor(2)] };
const index = { schemaVersion: 2, manifests: [descriptor(3)] };

function parse(document: unknown, contentType: string): Manifest {
  const text = typeof document === 'string' ? document : JSON.stringify(document);
  return parseManifest(new TextEncoder().encode(text), contentType);
}

function expectRefusal(document: unknown, contentType: string, message: string): void {
  expect(() => parse(document, contentType)).toThrow(expect.objectContaining({ kind: 'MANIFEST_INVALID', message }));
}

describe('a manifest is refused', () => {
  test.each(['', '{', '{"a":1,}', "{'a':1}", '{} {}', '\uFEFF\uFEFF{}', 'NaN'])('that is not JSON: %j', (text) => {
    expectRefusal(text, OTHER_TYPE, 'the manifest is not valid JSON');
  });

  test.each(['[]', 'null', '"{}"', '5', 'true', '[{"manifests":[]}]'])('that is not an object: %s', (text) => {
    expectRefusal(text, OTHER_TYPE, 'the manifest is not a JSON object');
  });

  test.each([
    ['by its Content-Type', {}, SCHEMA_1],
    ['by its signed Content-Type', {}, SCHEMA_1.replace('json', 'prettyjws')],
    ['by its own field', { schemaVersion: 1, mediaType: SCHEMA_1 }, SCHEMA_1],
    ['by its version', { schemaVersion: 1, fsLayers: [] }, 'application/json'],
    ['under the name of an image', { ...image, schemaVersion: 1 }, OCI_IMAGE_MANIFEST],
  ])('that is of schema 1 %s', (_, document, contentType) => {
    expectRefusal(document, contentType, 'Docker schema 1 manifests are not supported: push with a newer client');
  });

  test.each([OCI_IMAGE_MANIFEST, OCI_IMAGE_INDEX, DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, OTHER_TYPE])(
    'that is both image and index, as %s',
    (contentType) => {
      const message = 'the document is both an image and an index: it may have "layers" and "config", or "manifests"';
      expectRefusal({ ...image, ...index }, contentType, message);
      expectRefusal({ layers: [], manifests: [] }, contentType, message);
      expectRefusal({ config: descriptor(1), manifests: [] }, contentType, message);
      expectRefusal({ layers: null, manifests: null }, contentType, message);
    },
  );
});

describe('an image is refused', () => {
  test.each([
    ['without a config', { layers: [] }, 'the field "config" is missing'],
    ['with a null config', { ...image, config: null }, 'the field "config" must be a descriptor'],
    ['without layers', { config: descriptor(1) }, 'the field "layers" is missing'],
    ['with the content of an index', index, 'the field "config" is missing'],
    ['with a list of configs', { ...image, config: [descriptor(1)] }, 'the field "config" must be a descriptor'],
    [
      'with one layer instead of a list',
      { ...image, layers: descriptor(2) },
      'the field "layers" must be a list of descriptors',
    ],
    ['with a list of subjects', { ...image, subject: [] }, 'the field "subject" must be a descriptor'],
    ['with a config that is text', { ...image, config: 'sha256' }, 'the field "config" must be a descriptor'],
    ['with a null layer', { ...image, layers: [descriptor(2), null] }, 'the field "layers[1]" must be a descriptor'],
    ['with a layer without digest', { ...image, layers: [{ size: 1 }] }, 'the field "layers[0].digest" is missing'],
    [
      'with a layer without size',
      { ...image, layers: [{ digest: digest(1) }] },
      'the field "layers[0].size" is missing',
    ],
    [
      'with a negative size',
      { ...image, config: { ...descriptor(1), size: -1 } },
      'the field "config.size" must be a whole number from 0 to 9007199254740991',
    ],
    [
      'with a fractional size',
      { ...image, config: { ...descriptor(1), size: 0.5 } },
      'the field "config.size" must be a whole number from 0 to 9007199254740991',
    ],
    [
      'with an unsafe size',
      { ...image, config: { ...descriptor(1), size: 2 ** 53 } },
      'the field "config.size" must be a whole number from 0 to 9007199254740991',
    ],
    [
      'with a media type that is a number',
      { ...image, config: { ...descriptor(1), mediaType: 5 } },
      'the field "config.mediaType" must be a string',
    ],
    ['with a subject that is a number', { ...image, subject: 5 }, 'the field "subject" must be a descriptor'],
  ])('%s', (_, document, message) => {
    expectRefusal(document, OCI_IMAGE_MANIFEST, message);
    expectRefusal(document, DOCKER_MANIFEST, message);
  });

  test.each([
    ['config', { ...image, config: { ...descriptor(1), digest: 'sha256:0' } }],
    ['layers[1]', { ...image, layers: [descriptor(2), { ...descriptor(3), digest: 'sha256:0' }] }],
    ['subject', { ...image, subject: { ...descriptor(1), digest: 'sha256:0' } }],
  ])('with a bad digest, naming %s', (where, document) => {
    expect(() => parse(document, OCI_IMAGE_MANIFEST)).toThrow(
      expect.objectContaining({
        kind: 'DIGEST_INVALID',
        message: `the digest of ${where} must have 64 lowercase hexadecimal digits after sha256:`,
      }),
    );
  });
});

describe('an index is refused', () => {
  test.each([
    ['without manifests', {}, 'the field "manifests" is missing'],
    ['with the content of an image', image, 'the field "manifests" is missing'],
    [
      'with one manifest instead of a list',
      { manifests: descriptor(1) },
      'the field "manifests" must be a list of descriptors',
    ],
    ['with a child without digest', { manifests: [{}] }, 'the field "manifests[0].digest" is missing'],
  ])('%s', (_, document, message) => {
    expectRefusal(document, OCI_IMAGE_INDEX, message);
    expectRefusal(document, DOCKER_MANIFEST_LIST, message);
  });
});

describe('a document of another media type is refused', () => {
  test('only for an invalid subject, which the referrers API would have to list', () => {
    expectRefusal({ subject: {} }, OTHER_TYPE, 'the field "subject.digest" is missing');
    expect(() => parse({ subject: { ...descriptor(1), digest: 'x' } }, OTHER_TYPE)).toThrow(
      expect.objectContaining({ kind: 'DIGEST_INVALID' }),
    );
  });
});

const nested = (depth: number): string => `{"manifests":[],"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`;

describe('the caps', () => {
  test(`let JSON nest ${MAX_DEPTH} levels, and no more`, () => {
    expect(parse(nested(MAX_DEPTH), OCI_IMAGE_INDEX).references).toEqual([]);
    expectRefusal(nested(MAX_DEPTH + 1), OCI_IMAGE_INDEX, 'the manifest nests deeper than 64 levels');
  });

  test('refuse endless nesting before they parse it', () => {
    expectRefusal('{"a":'.repeat(500_000), OTHER_TYPE, 'the manifest nests deeper than 64 levels');
  });

  test.each([
    ['children', OCI_IMAGE_INDEX, (n: number) => ({ manifests: Array.from({ length: n }, (_, i) => descriptor(i)) })],
    [
      'repeated children',
      OCI_IMAGE_INDEX,
      (n: number) => ({ manifests: Array.from({ length: n }, () => descriptor(1)) }),
    ],
    [
      'config, layers and subject together',
      OCI_IMAGE_MANIFEST,
      (n: number) => ({
        ...image,
        layers: Array.from({ length: n - 2 }, (_, i) => descriptor(i)),
        subject: descriptor(1),
      }),
    ],
    [
      'descriptors of other documents',
      OTHER_TYPE,
      (n: number) => ({ blobs: Array.from({ length: n }, (_, i) => descriptor(i)) }),
    ],
  ])(`let a manifest have ${MAX_REFERENCES} %s, and no more`, (_, contentType, documentWith) => {
    expect(() => parse(documentWith(MAX_REFERENCES), contentType)).not.toThrow();
    expectRefusal(documentWith(MAX_REFERENCES + 1), contentType, 'the manifest has more than 4096 descriptors');
  });

  test.each([
    ['its own', { ...image, artifactType: 'a'.repeat(256) }],
    ["its config's", { ...image, config: { ...descriptor(1), mediaType: 'a'.repeat(256) } }],
  ])('let an artifact type have 255 characters, and no more: %s', (_, document) => {
    const shorter = JSON.stringify(document).replace('a'.repeat(256), 'a'.repeat(255));
    expect(parse(shorter, OCI_IMAGE_MANIFEST).artifactType).toBe('a'.repeat(255));
    expectRefusal(document, OCI_IMAGE_MANIFEST, 'the artifact type is too long for a media type');
  });
});

test('a document of very many tiny values is refused before it is parsed', () => {
  const body = new TextEncoder().encode(`{"schemaVersion":2,"note":[${'{},'.repeat(200_000)}{}]}`);
  expect(() => parseManifest(body, 'application/vnd.example+json')).toThrow('more than 200000 values');
});

test.each(['Layers', 'CONFIG', 'Manifests', 'MediaType', 'mediatype'])(
  'the field %s is refused, because readers differ about its case',
  (field) => {
    const body = new TextEncoder().encode(JSON.stringify({ schemaVersion: 2, manifests: [], [field]: [] }));
    expect(() => parseManifest(body, 'application/vnd.oci.image.index.v1+json')).toThrow('ambiguous');
  },
);
