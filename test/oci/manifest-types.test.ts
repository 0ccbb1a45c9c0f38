import { describe, expect, test } from 'vitest';
import { type Manifest, parseManifest, readStoredManifest } from '../../src/oci/manifest.ts';
import {
  DOCKER_MANIFEST,
  DOCKER_MANIFEST_LIST,
  type MediaType,
  OCI_IMAGE_INDEX,
  OCI_IMAGE_MANIFEST,
} from '../../src/oci/media-type.ts';

const ARTIFACT = 'application/vnd.example.artifact.v1+json';

const digest = (n: number): string => `sha256:${n.toString(16).padStart(64, '0')}`;
const descriptor = (n: number, more: object = {}) => ({
  mediaType: 'application/x',
  digest: digest(n),
  size: n,
  ...more,
});
const image = { schemaVersion: 2, config: descriptor(1), layers: [descriptor(2)] };
const index = { schemaVersion: 2, manifests: [descriptor(3)] };
const artifact = { blobs: [descriptor(4)], subject: descriptor(5) };

function parse(document: object | string, contentType: string): Manifest {
  const text = typeof document === 'string' ? document : JSON.stringify(document);
  return parseManifest(new TextEncoder().encode(text), contentType);
}

function expectRefusal(document: object | string, contentType: string, field: string, problem: string): void {
  const message = `the field "${field}" ${problem}`;
  expect(() => parse(document, contentType)).toThrow(
    expect.objectContaining({ kind: 'MANIFEST_INVALID', message, detail: { field } }),
  );
}

const AMBIGUOUS = 'is ambiguous: some readers ignore the case of names';

/** Fields of a descriptor with a wrong type, the path of the fault, and the message. */
const WRONG_IN_DESCRIPTOR: readonly [fields: object, path: string, problem: string][] = [
  [{ urls: 'https://example.com' }, 'urls', 'must be a list of strings'],
  [{ urls: ['a', 1] }, 'urls[1]', 'must be a string'],
  [{ annotations: ['a'] }, 'annotations', 'must be an object of strings'],
  [{ annotations: { a: 1 } }, 'annotations.a', 'must be a string'],
  [{ annotations: { a: null } }, 'annotations.a', 'must be a string'],
  [{ data: 5 }, 'data', 'must be base64'],
  [{ data: 'no base64!' }, 'data', 'must be base64'],
  [{ artifactType: {} }, 'artifactType', 'must be a string'],
  [{ platform: 'linux/amd64' }, 'platform', 'must be an object'],
  [{ platform: { os: 5 } }, 'platform.os', 'must be a string'],
  [{ platform: { architecture: [] } }, 'platform.architecture', 'must be a string'],
  [{ platform: { variant: true } }, 'platform.variant', 'must be a string'],
  [{ platform: { 'os.version': 10 } }, 'platform.os.version', 'must be a string'],
  [{ platform: { 'os.features': 'win32k' } }, 'platform.os.features', 'must be a list of strings'],
  [{ platform: { 'os.features': [1] } }, 'platform.os.features[0]', 'must be a string'],
  [{ size: '5' }, 'size', 'must be a whole number from 0 to 9007199254740991'],
  [{ mediaType: 5 }, 'mediaType', 'must be a string'],
  [{ mediaType: undefined }, 'mediaType', 'is missing'],
  [{ mediaType: null }, 'mediaType', 'must be a string'],
  [{ mediaType: '' }, 'mediaType', 'must not be empty'],
  [{ Size: 1 }, 'Size', AMBIGUOUS],
  [{ platform: { OS: 'linux' } }, 'platform.OS', AMBIGUOUS],
];

/** Places of descriptors. */
const PLACES: readonly [where: string, mediaType: string, field: string, documentWith: (more: object) => object][] = [
  ['the config of an image', OCI_IMAGE_MANIFEST, 'config', (more) => ({ ...image, config: descriptor(1, more) })],
  [
    'a layer of Docker',
    DOCKER_MANIFEST,
    'layers[1]',
    (more) => ({ ...image, layers: [descriptor(2), descriptor(3, more)] }),
  ],
  ['the subject of an image', OCI_IMAGE_MANIFEST, 'subject', (more) => ({ ...image, subject: descriptor(5, more) })],
  ['an index', OCI_IMAGE_INDEX, 'manifests[0]', (more) => ({ manifests: [descriptor(1, more)] })],
  ["Docker's list", DOCKER_MANIFEST_LIST, 'manifests[0]', (more) => ({ manifests: [descriptor(1, more)] })],
  ['the subject of an artifact', ARTIFACT, 'subject', (more) => ({ subject: descriptor(5, more) })],
  ['a blob of an artifact', ARTIFACT, 'blobs[0]', (more) => ({ ...artifact, blobs: [descriptor(4, more)] })],
];

describe.each(PLACES)('a manifest that no client can decode is refused for %s', (_, mediaType, place, documentWith) => {
  test.each(WRONG_IN_DESCRIPTOR)('with %j', (fields, path, problem) => {
    expectRefusal(documentWith(fields), mediaType, `${place}.${path}`, problem);
  });
});

const SHAPES: readonly [shape: string, mediaType: string, document: object][] = [
  ['an image', OCI_IMAGE_MANIFEST, image],
  ['an image of Docker', DOCKER_MANIFEST, image],
  ['an index', OCI_IMAGE_INDEX, index],
  ["Docker's list", DOCKER_MANIFEST_LIST, index],
  ['an artifact with a subject', ARTIFACT, artifact],
];

describe.each(SHAPES)('%s, %s', (shape, mediaType, document) => {
  test.each([
    [{ annotations: { a: 1 } }, 'annotations.a', 'must be a string'],
    [{ annotations: 'a' }, 'annotations', 'must be an object of strings'],
    [{ artifactType: 5 }, 'artifactType', 'must be a string'],
    [{ Annotations: { a: 1 } }, 'Annotations', AMBIGUOUS],
  ])('is refused with %j', (fields, path, problem) => {
    expectRefusal({ ...document, ...fields }, mediaType, path, problem);
  });

  test('is refused with a non-string annotation called __proto__', () => {
    const text = JSON.stringify(document).replace('{', '{"annotations":{"__proto__":1},');
    expectRefusal(text, mediaType, 'annotations.__proto__', 'must be a string');
  });

  test.each(['2', 2.5])('is refused with a schemaVersion that is not a whole number: %j', (schemaVersion) => {
    const problem = shape.startsWith('an artifact') ? 'must be a whole number' : 'must be the number 2';
    expectRefusal({ ...document, schemaVersion }, mediaType, 'schemaVersion', problem);
  });

  test('may have fields that image-spec does not define, and null in optional ones', () => {
    const unknown = { annotations: null, artifactType: null, note: { any: ['thing'] } };
    expect(parse({ ...document, ...unknown }, mediaType).references.length).toBeGreaterThan(0);
  });
});

describe('a number that Go cannot decode as an integer', () => {
  const DIGITS = 'must be written only in digits: clients accept neither a fraction nor an exponent';
  /** Returns the JSON of `document`, with each number that equals `value` written as `literal`. */
  const written = (document: object, value: number, literal: string): string =>
    JSON.stringify(document).replaceAll(`:${value},`, `:${literal},`).replaceAll(`:${value}}`, `:${literal}}`);

  test.each(['1000.0', '1e3', '1E+3', '10000e-1'])('is refused as a size: %s', (literal) => {
    for (const [, mediaType, place, documentWith] of PLACES) {
      expectRefusal(written(documentWith({ size: 1000 }), 1000, literal), mediaType, `${place}.size`, DIGITS);
    }
  });

  test.each(['2.0', '2e0', '0.2E1'])('is refused as a schemaVersion: %s', (literal) => {
    for (const [, mediaType, document] of SHAPES) {
      const text = JSON.stringify({ ...document, schemaVersion: 'number' }).replace('"number"', ` ${literal}`);
      expectRefusal(text, mediaType, 'schemaVersion', DIGITS);
    }
  });

  test('is refused in a field whose name is written with an escape', () => {
    const text = written(image, 1, '1.0').replace('"size":1.0', '"si\\u007ae" : 1.0');
    expectRefusal(text, OCI_IMAGE_MANIFEST, 'config.size', DIGITS);
  });

  test('is accepted in fields that image-spec does not define, and in text', () => {
    const notes = {
      note: { size: 1000, schemaVersion: 1000, list: [{ size: 1000 }] },
      annotations: { size: '{"size":1.5}' },
    };
    const text = written({ ...image, ...notes }, 1000, '1e3');
    expect(parse(text, OCI_IMAGE_MANIFEST)).toMatchObject({ text, references: [{ size: 1 }, { size: 2 }] });
  });

  test('counts as no size in a document of another type without a subject', () => {
    const text = written({ layers: [descriptor(1, { size: 1000 })] }, 1000, '1e3');
    expect(parse(text, ARTIFACT).references).toEqual([
      { kind: 'layer', digest: digest(1), size: null, mediaType: 'application/x' },
    ]);
  });
});

test('a document of another type without a subject is stored as pushed, whatever its fields', () => {
  const document = { annotations: { a: 1 }, artifactType: 5, layers: [{ ...descriptor(1), urls: 'x' }] };
  expect(parse(document, ARTIFACT).references).toMatchObject([{ digest: digest(1), size: 1 }]);
});

test.each([undefined, null, ''])('an image of Docker may have a config of the media type %j', (mediaType) => {
  const document = { ...image, config: descriptor(1, { mediaType }) };
  expect(parse(document, DOCKER_MANIFEST)).toMatchObject({ requiredBlobs: [digest(1), digest(2)], artifactType: '' });
});

describe('null for a list, as Go writes an empty one', () => {
  test.each([OCI_IMAGE_INDEX, DOCKER_MANIFEST_LIST])('is accepted as no manifests in %s', (mediaType) => {
    expect(parse({ schemaVersion: 2, manifests: null }, mediaType).references).toEqual([]);
  });

  test.each([OCI_IMAGE_MANIFEST, DOCKER_MANIFEST])('is accepted as no layers in %s', (mediaType) => {
    expect(parse({ ...image, layers: null }, mediaType).references).toMatchObject([{ kind: 'config' }]);
  });
});

test('a manifest that states two sizes for one digest is refused', () => {
  const layers = [descriptor(2), descriptor(2, { size: 3 })];
  expect(() => parse({ ...image, layers }, OCI_IMAGE_MANIFEST)).toThrow(
    `the manifest gives ${digest(2)} two sizes, 2 and 3`,
  );
});

describe('media types are compared without regard to case:', () => {
  const upper = (mediaType: MediaType): string => mediaType.replace('oci', 'OCI').replace('docker', 'DOCKER');

  test.each([OCI_IMAGE_MANIFEST, DOCKER_MANIFEST])(
    '%s in another case is an image, and is kept as pushed',
    (mediaType) => {
      const pushed = upper(mediaType);
      expect(parse(image, pushed)).toMatchObject({ mediaType: pushed, requiredBlobs: [digest(1), digest(2)] });
      expectRefusal({ config: descriptor(1) }, pushed, 'layers', 'is missing');
    },
  );

  test.each([OCI_IMAGE_INDEX, DOCKER_MANIFEST_LIST])('%s in another case is an index', (mediaType) => {
    expectRefusal({}, upper(mediaType), 'manifests', 'is missing');
  });

  test('a Content-Type agrees with the field "mediaType" in another case, and the field\'s spelling is served', () => {
    const own = upper(OCI_IMAGE_MANIFEST);
    expect(parse({ ...image, mediaType: own }, OCI_IMAGE_MANIFEST).mediaType).toBe(own);
  });

  test('schema 1 in another case is refused', () => {
    expect(() => parse({}, 'application/vnd.Docker.distribution.manifest.V1+json')).toThrow('schema 1');
  });

  test('a foreign layer in another case may lack its bytes', () => {
    const mediaType = 'application/vnd.oci.image.layer.NonDistributable.v1.tar';
    expect(parse({ ...image, layers: [descriptor(2, { mediaType })] }, OCI_IMAGE_MANIFEST).requiredBlobs).toEqual([
      digest(1),
    ]);
  });
});

describe('a media type that no manifest has', () => {
  test.each([
    'application/x-www-form-urlencoded',
    'Application/X-WWW-Form-URLencoded',
    'application/octet-stream',
    'multipart/form-data; boundary=x',
    'text/plain;charset=UTF-8',
  ])('is refused: %s', (contentType) => {
    expect(() => parse(image, contentType)).toThrow(
      expect.objectContaining({
        kind: 'MANIFEST_INVALID',
        message: `${contentType.split(';')[0] ?? ''} is not the media type of a manifest: send the manifest's own as Content-Type`,
      }),
    );
  });

  test.each([
    'application/json',
    'application/vnd.cncf.helm.config.v1+json',
    'application/vnd.wasm.config.v0+json',
    'application/vnd.dev.cosign.artifact.sig.v1+json',
    'application/vnd.cncf.notary.signature',
    'application/vnd.unikraft.rom.v1',
    'application/vnd.oci.artifact.manifest.v1+json',
  ])('does not include types that clients use for artifacts: %s', (contentType) => {
    expect(parse({}, contentType).mediaType).toBe(contentType);
  });
});

describe('a manifest that is already stored', () => {
  const read = (document: object | string, mediaType: string): Manifest =>
    readStoredManifest(typeof document === 'string' ? document : JSON.stringify(document), mediaType as MediaType);

  test.each(SHAPES)('reads as it did when it was pushed: %s', (_, mediaType, document) => {
    expect(read(document, mediaType)).toEqual(parse(document, mediaType));
    const subject = { ...descriptor(9), digest: 'blake3:abc' };
    expect(read({ ...document, subject }, mediaType)).toEqual(parse({ ...document, subject }, mediaType));
  });

  test.each(PLACES)('can be read although its fields would be refused today: %s', (_, mediaType, __, documentWith) => {
    const digests = parse(documentWith({}), mediaType).references.map(({ kind, digest: each }) => [kind, each]);
    for (const [fields] of WRONG_IN_DESCRIPTOR) {
      const document = { ...documentWith(fields), annotations: { a: 1 }, Subject: null, artifactType: 'a'.repeat(300) };
      expect(read(document, mediaType).references.map(({ kind, digest: each }) => [kind, each])).toEqual(digests);
    }
  });

  test('can be read although it states two sizes for one digest', () => {
    const layers = [descriptor(2), descriptor(2, { size: 3 })];
    expect(read({ ...image, layers }, OCI_IMAGE_MANIFEST).requiredBlobs).toEqual([digest(1), digest(2)]);
  });
});
