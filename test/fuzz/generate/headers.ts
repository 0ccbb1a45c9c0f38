/** Headers: some that must not matter, and bad values of those that do. */
import * as fc from 'fast-check';

/** Characters that a header may hold. */
export const headerText = fc.string({
  unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
  maxLength: 30,
});

const ACCEPTS = [
  '*/*',
  'text/html',
  '',
  'application/vnd.oci.image.index.v1+json;q=0.5, application/json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
  `${'a/b,'.repeat(500)}c/d`,
];

/**
 * Headers that change no answer of the OCI API. The exception is Origin: a page of another origin may not change
 * anything.
 */
export const noise: fc.Arbitrary<Record<string, string>> = fc.record(
  {
    Accept: fc.oneof(fc.constantFrom(...ACCEPTS), headerText),
    'Accept-Encoding': fc.constantFrom('gzip', 'identity;q=0', 'br, *;q=0.1'),
    'User-Agent': headerText,
    Cookie: headerText,
    Origin: fc.constantFrom('https://elsewhere.example', 'null'),
    'X-Forwarded-Host': fc.constantFrom('elsewhere.example', '"><script>'),
    'X-HTTP-Method-Override': fc.constantFrom('DELETE', 'PUT'),
    'Docker-Distribution-Api-Version': headerText,
    'If-Modified-Since': headerText,
  },
  { requiredKeys: [] },
);

/** Invalid numbers of bytes. */
export const badContentLength = fc.constantFrom('abc', '-1', '1.5', '1e3', '0x10', '1,1', '+5', '1 2');

/** Invalid Content-Ranges of a chunk. */
export const badContentRange = fc.oneof(
  fc.constantFrom(
    '-',
    '5',
    '5-',
    '-5',
    'a-b',
    '0--1',
    '+0-9',
    '0x0-0x9',
    '1e1-19',
    '0 - 9',
    'items 0-9',
    '0-9,10-19',
    '9-0',
    '0-9/x',
  ),
  fc.constantFrom('0-9999999999999999', `${'9'.repeat(30)}-${'9'.repeat(31)}`, 'bytes */10', 'bytes 9-0/10'),
);
