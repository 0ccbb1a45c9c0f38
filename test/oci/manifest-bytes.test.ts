import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Manifest, parseManifest } from '../../src/oci/manifest.ts';
import { OCI_IMAGE_INDEX, OCI_IMAGE_MANIFEST } from '../../src/oci/media-type.ts';

const OTHER_TYPE = 'application/vnd.example.thing.v1+json';

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

function parse(document: object, contentType: string | undefined): Manifest {
  return parseManifest(encode(JSON.stringify(document)), contentType);
}

describe('the text of a manifest', () => {
  test('encodes to the bytes that were pushed, whatever their content', () => {
    const text = fc.string({ unit: 'binary', maxLength: 20 });
    const annotations = fc.dictionary(text, text, { maxKeys: 5 });
    const spacing = fc.record({
      indent: fc.constantFrom(undefined, 1, 3, '\t'),
      before: fc.constantFrom('', '\uFEFF', '\uFEFF\n ', ' \r\n'),
      after: fc.constantFrom('', '\n', '\t '),
    });
    fc.assert(
      fc.property(annotations, spacing, (values, { indent, before, after }) => {
        const bytes = encode(before + JSON.stringify({ manifests: [], annotations: values }, null, indent) + after);
        expect(encode(parseManifest(bytes, OCI_IMAGE_INDEX).text)).toEqual(bytes);
      }),
      { seed: 105, numRuns: 500 },
    );
  });

  test('keeps a byte-order mark', () => {
    const bytes = encode('\uFEFF{"manifests":[]}');
    expect(bytes.slice(0, 3).toHex()).toBe('efbbbf');
    expect(parseManifest(bytes, OCI_IMAGE_INDEX).text).toBe('\uFEFF{"manifests":[]}');
  });

  test('keeps repeated keys, and a NUL in a string', () => {
    const text = '{ "manifests":[], "a":1, "a":"\\u0000\u007f" }';
    expect(parseManifest(encode(text), OCI_IMAGE_INDEX).text).toBe(text);
  });

  test.each([
    ['a lone continuation byte', [0x80]],
    ['an overlong slash', [0xc0, 0xaf]],
    ['half of a surrogate pair', [0xed, 0xa0, 0x80]],
    ['a sequence cut short', [0xe2, 0x82]],
    ['UTF-16', [0xff, 0xfe]],
  ])('is refused with %s in it', (_, broken) => {
    const bytes = new Uint8Array([...encode('{"manifests":[],"a":"'), ...broken, ...encode('"}')]);
    expect(() => parseManifest(bytes, OCI_IMAGE_INDEX)).toThrow(
      expect.objectContaining({ kind: 'MANIFEST_INVALID', message: 'the manifest is not valid UTF-8' }),
    );
  });
});

describe('the media type of a manifest', () => {
  test.each([
    ['the Content-Type', {}, OTHER_TYPE],
    ['the Content-Type without its parameters', {}, `${OTHER_TYPE}; charset=utf-8`],
    ['its own field, without a Content-Type', { mediaType: OTHER_TYPE }, undefined],
    ['its own field without parameters', { mediaType: `${OTHER_TYPE};x=1` }, undefined],
    ['both, if they agree', { mediaType: OTHER_TYPE }, `${OTHER_TYPE};charset=utf-8`],
  ])('is %s', (_, document, contentType) => {
    expect(parse(document, contentType).mediaType).toBe(OTHER_TYPE);
  });

  test.each([
    ['there is none', {}, undefined, 'the manifest needs a Content-Type'],
    ['the Content-Type is empty', { mediaType: OTHER_TYPE }, '', 'the Content-Type is not a media type'],
    ['the Content-Type is invalid', {}, 'json', 'the Content-Type is not a media type'],
    ['the field is not a string', { mediaType: 5 }, OTHER_TYPE, 'the field "mediaType" is not a media type'],
    ['the field is null', { mediaType: null }, OTHER_TYPE, 'the field "mediaType" is not a media type'],
    ['the field is invalid', { mediaType: 'json' }, OTHER_TYPE, 'the field "mediaType" is not a media type'],
    [
      'they differ',
      { mediaType: OCI_IMAGE_INDEX, manifests: [] },
      OCI_IMAGE_MANIFEST,
      `the Content-Type ${OCI_IMAGE_MANIFEST} differs from the field "mediaType", ${OCI_IMAGE_INDEX}`,
    ],
  ])('is refused if %s', (_, document, contentType, message) => {
    expect(() => parse(document, contentType)).toThrow(expect.objectContaining({ kind: 'MANIFEST_INVALID', message }));
  });
});
