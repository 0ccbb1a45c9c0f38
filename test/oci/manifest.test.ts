import { describe, expect, test } from 'vitest';
import { annotationsOf, type Manifest, parseManifest } from '../../src/oci/manifest.ts';
import {
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  OCI_IMAGE_INDEX,
  OCI_IMAGE_MANIFEST,
} from '../../src/oci/media-type.ts';

const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip';
const OTHER_TYPE = 'application/vnd.example.thing.v1+json';
const FOREIGN_TYPES = [
  'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
];

const digest = (n: number): string => `sha256:${n.toString(16).padStart(64, '0')}`;
const descriptor = (n: number, mediaType: string) => ({ mediaType, digest: digest(n), size: n * 100 });
const config = descriptor(1, CONFIG_TYPE);
const [layer, otherLayer] = [descriptor(2, LAYER_TYPE), descriptor(3, LAYER_TYPE)];
const image = { schemaVersion: 2, config, layers: [layer, otherLayer] };
const index = { schemaVersion: 2, manifests: [descriptor(4, OCI_IMAGE_MANIFEST), descriptor(5, OCI_IMAGE_MANIFEST)] };

function parse(document: object, contentType: string): Manifest {
  return parseManifest(new TextEncoder().encode(JSON.stringify(document)), contentType);
}

describe('an image', () => {
  test.each([OCI_IMAGE_MANIFEST, DOCKER_MANIFEST])('of type %s needs its config and layers', (mediaType) => {
    expect(parse(image, mediaType)).toMatchObject({
      mediaType,
      text: JSON.stringify(image),
      references: [
        { kind: 'config', digest: digest(1), size: 100 },
        { kind: 'layer', digest: digest(2), size: 200 },
        { kind: 'layer', digest: digest(3), size: 300 },
      ],
      requiredBlobs: [digest(1), digest(2), digest(3)],
      subject: undefined,
      artifactType: CONFIG_TYPE,
    });
  });

  test.each(FOREIGN_TYPES)('may lack the bytes of a layer of type %s', (mediaType) => {
    const { references, requiredBlobs } = parse(
      { ...image, layers: [descriptor(6, mediaType), layer] },
      OCI_IMAGE_MANIFEST,
    );
    expect(references.map((reference) => reference.digest)).toEqual([digest(1), digest(6), digest(2)]);
    expect(requiredBlobs).toEqual([digest(1), digest(2)]);
  });

  test.each(FOREIGN_TYPES)('needs its config even if it claims to be of type %s', (mediaType) => {
    const { requiredBlobs } = parse({ ...image, config: descriptor(1, mediaType) }, OCI_IMAGE_MANIFEST);
    expect(requiredBlobs).toContain(digest(1));
  });

  test('that lists one blob both as a foreign and as an ordinary layer needs it', () => {
    const layers = [descriptor(6, LAYER_TYPE), descriptor(6, FOREIGN_TYPES[0] ?? '')];
    expect(parse({ ...image, layers }, OCI_IMAGE_MANIFEST).requiredBlobs).toContain(digest(6));
    expect(parse({ ...image, layers: layers.toReversed() }, OCI_IMAGE_MANIFEST).requiredBlobs).toContain(digest(6));
  });

  test('that repeats a layer references it once, and needs it once', () => {
    const { references, requiredBlobs } = parse({ ...image, layers: [layer, otherLayer, layer] }, OCI_IMAGE_MANIFEST);
    expect(references.map((reference) => `${reference.kind} ${reference.digest}`)).toEqual([
      `config ${digest(1)}`,
      `layer ${digest(2)}`,
      `layer ${digest(3)}`,
    ]);
    expect(requiredBlobs).toEqual([digest(1), digest(2), digest(3)]);
  });

  test('whose config is also a layer references it as both, and needs it once', () => {
    const { references, requiredBlobs } = parse({ ...image, layers: [config] }, OCI_IMAGE_MANIFEST);
    expect(references.map(({ kind }) => kind)).toEqual(['config', 'layer']);
    expect(requiredBlobs).toEqual([digest(1)]);
  });

  test('may have no layers', () => {
    const { requiredBlobs } = parse({ config, layers: [] }, OCI_IMAGE_MANIFEST);
    expect(requiredBlobs).toEqual([digest(1)]);
  });

  test('may mix sha256 and sha512', () => {
    const sha512 = `sha512:${'a'.repeat(128)}`;
    expect(parse({ ...image, layers: [{ ...layer, digest: sha512 }] }, OCI_IMAGE_MANIFEST).requiredBlobs).toEqual([
      digest(1),
      sha512,
    ]);
  });
});

describe('an index', () => {
  test.each([OCI_IMAGE_INDEX, DOCKER_MANIFEST_LIST])(
    'of type %s references its children, and needs none of them',
    (mediaType) => {
      const { references, requiredBlobs, artifactType } = parse(index, mediaType);
      expect(references).toMatchObject([
        { kind: 'child', digest: digest(4), size: 400 },
        { kind: 'child', digest: digest(5), size: 500 },
      ]);
      expect(requiredBlobs).toEqual([]);
      expect(artifactType).toBe('');
    },
  );

  test("may list layer blobs, as buildkit's caches do", () => {
    const cache = {
      schemaVersion: 2,
      mediaType: OCI_IMAGE_INDEX,
      manifests: [layer, otherLayer, descriptor(7, 'application/vnd.buildkit.cacheconfig.v0')],
    };
    const { references, requiredBlobs } = parse(cache, OCI_IMAGE_INDEX);
    expect(references.map(({ kind }) => kind)).toEqual(['child', 'child', 'child']);
    expect(requiredBlobs).toEqual([]);
  });

  test('may be empty', () => {
    expect(parse({ schemaVersion: 2, manifests: [] }, OCI_IMAGE_INDEX).references).toEqual([]);
  });
});

describe('the subject', () => {
  test.each([
    ['an image', image, OCI_IMAGE_MANIFEST],
    ['an index', index, OCI_IMAGE_INDEX],
    ['another document', {}, OTHER_TYPE],
  ])('of %s is referenced, but not needed', (_, document, mediaType) => {
    const { subject, references, requiredBlobs } = parse(
      { ...document, subject: descriptor(9, OCI_IMAGE_MANIFEST) },
      mediaType,
    );
    expect(subject).toBe(digest(9));
    expect(references).toContainEqual(expect.objectContaining({ kind: 'subject', digest: digest(9), size: 900 }));
    expect(requiredBlobs).not.toContain(digest(9));
  });

  test('may be null', () => {
    expect(parse({ ...image, subject: null }, OCI_IMAGE_MANIFEST).subject).toBeUndefined();
  });
});

describe('the artifact type', () => {
  const artifactType = 'application/vnd.example.sbom.v1';

  test.each([
    ["an image's own", { ...image, artifactType }, OCI_IMAGE_MANIFEST, artifactType],
    ["that of an image's config, if the image has none", image, OCI_IMAGE_MANIFEST, CONFIG_TYPE],
    [
      "that of an image's config, if the image's own is empty",
      { ...image, artifactType: '' },
      OCI_IMAGE_MANIFEST,
      CONFIG_TYPE,
    ],
    [
      "that of an image's config, if the image's own is null",
      { ...image, artifactType: null },
      OCI_IMAGE_MANIFEST,
      CONFIG_TYPE,
    ],
    ["an index's own", { ...index, artifactType }, OCI_IMAGE_INDEX, artifactType],
    ['none for an index without one', index, OCI_IMAGE_INDEX, ''],
    ["another document's own", { artifactType }, OTHER_TYPE, artifactType],
    ['none for another document without one, whatever its config', { config }, OTHER_TYPE, ''],
  ])('is %s', (_, document, mediaType, expected) => {
    expect(parse(document, mediaType).artifactType).toBe(expected);
  });
});

describe('a document of another media type', () => {
  test('is recorded with the descriptors in its usual fields', () => {
    const blobs = { config, layers: [layer], blobs: [otherLayer] };
    const { references, requiredBlobs } = parse(blobs, OTHER_TYPE);
    expect(references.map((reference) => `${reference.kind} ${reference.digest}`)).toEqual([
      `config ${digest(1)}`,
      `layer ${digest(2)}`,
      `layer ${digest(3)}`,
    ]);
    expect(requiredBlobs).toEqual([]);
    expect(parse(index, OTHER_TYPE).references.map(({ kind }) => kind)).toEqual(['child', 'child']);
  });

  test.each([
    ['has none of the usual fields', {}],
    ['gives them another meaning', { layers: 'many', manifests: undefined, config: [1, 2], blobs: { a: 1 } }],
    ['lists invalid descriptors', { layers: [null, 5, 'x', [], {}, { digest: 5 }, { digest: 'md5:00' }] }],
  ])('is accepted if it %s', (_, document) => {
    expect(parse(document, OTHER_TYPE)).toMatchObject({ mediaType: OTHER_TYPE, references: [], requiredBlobs: [] });
  });

  test.each([-1, 1.5, 2 ** 53, '100', null, undefined])('has no size if it states %j', (size) => {
    expect(parse({ layers: [{ ...layer, size }] }, OTHER_TYPE).references).toMatchObject([
      { digest: digest(2), size: null },
    ]);
  });

  test('may have blobs, but an image with such a field references nothing by it', () => {
    expect(parse({ ...image, blobs: [descriptor(8, LAYER_TYPE)] }, OCI_IMAGE_MANIFEST).references).not.toContainEqual(
      expect.objectContaining({ digest: digest(8) }),
    );
  });
});

describe('annotationsOf', () => {
  test.each([
    ['{"annotations":{"a":"b"}}', { a: 'b' }],
    ['\uFEFF{"annotations":{"a":"b"}}', { a: 'b' }],
    ['{}', undefined],
    ['{"annotations":null}', undefined],
    ['{"annotations":["a"]}', undefined],
  ])('of %j', (text, annotations) => {
    expect(annotationsOf(text)).toEqual(annotations);
  });
});
