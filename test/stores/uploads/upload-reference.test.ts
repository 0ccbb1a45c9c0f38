import { describe, expect, test } from 'vitest';
import { SigningKeys } from '../../../src/auth/signing-keys.ts';
import { parseRepositoryName } from '../../../src/oci/reference.ts';
import {
  formatUploadReference,
  parseUploadReference,
  type UploadReference,
} from '../../../src/stores/uploads/upload-reference.ts';

const NOW = 1_800_000_000_000;

const key = (byte: number): string => new Uint8Array(32).fill(byte).toBase64();
const signer = await SigningKeys.import([key(1)]);

const owner = { store: 'central', repository: parseRepositoryName('alice/app'), subject: 'credential-1' };
const reference: UploadReference = {
  id: '01234567-89ab-4cde-8f01-23456789abcd',
  offset: 1234,
  expiresAt: NOW + 1000,
  algorithm: 'sha256',
};
const segment = await formatUploadReference(signer, owner, reference);
const [id = '', offset = '', expiresAt = '', algorithm = '', signature = ''] = segment.split('.');
const unkeyed = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(segment)));

const UNKNOWN = expect.objectContaining({ kind: 'UPLOAD_UNKNOWN', status: 404 });

describe('an upload reference', () => {
  test.each<UploadReference>([
    reference,
    { ...reference, offset: 0, algorithm: 'sha512' },
    { ...reference, offset: 10_000 * 1024 ** 3 },
  ])('contains the fields that it was made of: %o', async (made) => {
    const text = await formatUploadReference(signer, owner, made);
    expect(await parseUploadReference(signer, owner, text, NOW)).toEqual(made);
  });

  test('is a valid path segment without encoding', () => {
    expect(segment).toMatch(/^[A-Za-z0-9._-]+$/);
    expect(new URL(segment, 'https://index.example.com/').pathname).toBe(`/${segment}`);
  });

  test('is valid until its end, and not a millisecond longer', async () => {
    expect(await parseUploadReference(signer, owner, segment, NOW + 999)).toEqual(reference);
    await expect(parseUploadReference(signer, owner, segment, NOW + 1000)).rejects.toThrow(UNKNOWN);
  });

  test('survives a rotation of the key that signed it, until that key is removed', async () => {
    const rotated = await SigningKeys.import([key(2), key(1)]);
    expect(await parseUploadReference(rotated, owner, segment, NOW)).toEqual(reference);
    const replaced = await SigningKeys.import([key(2)]);
    await expect(parseUploadReference(replaced, owner, segment, NOW)).rejects.toThrow(UNKNOWN);
  });
});

describe('an upload reference is unknown', () => {
  test.each([
    ['store', { ...owner, store: 'eu-1' }],
    ['repository', { ...owner, repository: parseRepositoryName('alice/other') }],
    ['subject', { ...owner, subject: 'credential-2' }],
  ])('in the hands of another %s', async (_, other) => {
    await expect(parseUploadReference(signer, other, segment, NOW)).rejects.toThrow(UNKNOWN);
  });

  test.each([
    ['another id', [`1${id.slice(1)}`, offset, expiresAt, algorithm, signature]],
    ['another offset', [id, '1235', expiresAt, algorithm, signature]],
    ['a later end', [id, offset, `${NOW + 9000}`, algorithm, signature]],
    ['another algorithm', [id, offset, expiresAt, 'sha512', signature]],
    [
      'another signature',
      [id, offset, expiresAt, algorithm, `${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`],
    ],
    [
      'an unkeyed hash instead of a signature',
      [id, offset, expiresAt, algorithm, unkeyed.toBase64({ alphabet: 'base64url', omitPadding: true })],
    ],
    ['an empty signature', [id, offset, expiresAt, algorithm, '']],
    ['a signature cut short', [id, offset, expiresAt, algorithm, signature.slice(0, -1)]],
    ['no signature', [id, offset, expiresAt, algorithm]],
    ['fields in another order', [id, expiresAt, offset, algorithm, signature]],
  ])('with %s', async (_, parts) => {
    await expect(parseUploadReference(signer, owner, parts.join('.'), NOW)).rejects.toThrow(UNKNOWN);
  });

  test.each([
    '',
    '.',
    '....',
    'x',
    id,
    '..',
    '%2e%2e',
    'a'.repeat(10_000),
    `${segment}.`,
    `.${segment}`,
    `${segment} `,
    `${segment}\n`,
  ])('if it is malformed: %j', async (text) => {
    await expect(parseUploadReference(signer, owner, text, NOW)).rejects.toThrow(UNKNOWN);
  });

  // These are signed, as only a bug of Berth's could sign them. The grammar of the fields must hold anyway.
  test.each([
    ['an id that is not a UUID', { ...reference, id: 'alice%2fapp' }],
    ['an id in upper case', { ...reference, id: reference.id.toUpperCase() }],
    ['an extra field', { ...reference, algorithm: 'sha256.5' as 'sha256' }],
    ['an end that is not a number', { ...reference, expiresAt: Infinity }],
    ['a negative offset', { ...reference, offset: -1 }],
    ['a fractional offset', { ...reference, offset: 1.5 }],
    ['an offset that is not a number', { ...reference, offset: NaN }],
    ['an unknown algorithm', { ...reference, algorithm: 'md5' as 'sha256' }],
  ])('with %s', async (_, made) => {
    const text = await formatUploadReference(signer, owner, made);
    await expect(parseUploadReference(signer, owner, text, NOW)).rejects.toThrow(UNKNOWN);
  });
});
