import { describe, expect, test } from 'vitest';
import { SigningKeys } from '../../src/auth/signing-keys.ts';

const secret = (byte: number): string => new Uint8Array(32).fill(byte).toBase64();

const before = await SigningKeys.import([secret(1)]);
const during = await SigningKeys.import([secret(2), secret(1)]);
const after = await SigningKeys.import([secret(2)]);

describe('a signature', () => {
  test('is HMAC-SHA256 in base64url', async () => {
    const key = await crypto.subtle.importKey(
      'raw',
      new Uint8Array(32).fill(1),
      { name: 'HMAC', hash: 'SHA-256' },
      false,
      ['sign'],
    );
    const mac = new Uint8Array(await crypto.subtle.sign('HMAC', key, new TextEncoder().encode('text')));
    expect(await before.sign('text')).toBe(mac.toBase64({ alphabet: 'base64url', omitPadding: true }));
  });

  test.each(['text', '', 'a\nb', '😀'])('verifies for the text that was signed: %j', async (text) => {
    expect(await before.verify(text, await before.sign(text))).toBe(true);
  });

  test.each(['Text', 'text ', '', 'tex'])('does not verify for another text: %j', async (text) => {
    expect(await before.verify(text, await before.sign('text'))).toBe(false);
  });

  test('does not verify with any of its bits changed', async () => {
    const mac = Uint8Array.fromBase64(await before.sign('text'), { alphabet: 'base64url' });
    for (let bit = 0; bit < mac.length * 8; bit++) {
      const changed = mac.map((byte, i) => (i === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
      expect(await before.verify('text', changed.toBase64({ alphabet: 'base64url', omitPadding: true }))).toBe(false);
    }
  });

  test('verifies only as it was spelled when it was made', async () => {
    const good = await before.sign('text');
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const spellings = alphabet.split('').map((last) => good.slice(0, -1) + last);
    const verified = await Promise.all(spellings.map((each) => before.verify('text', each)));
    expect(spellings.filter((_, i) => verified[i])).toEqual([good]);
  });

  test.each([
    ['empty', () => ''],
    ['a character short', (good: string) => good.slice(0, -1)],
    ['a character long', (good: string) => `${good}A`],
    ['padded', (good: string) => `${good}=`],
    ['followed by a line break', (good: string) => `${good}\n`],
    ['half as long', (good: string) => good.slice(0, 22)],
    ['in hexadecimal', (good: string) => Uint8Array.fromBase64(good, { alphabet: 'base64url' }).toHex()],
    ['of characters that are not base64url', (good: string) => `+/${good.slice(2)}`],
  ])('does not verify if it is %s', async (_, change) => {
    expect(await before.verify('text', change(await before.sign('text')))).toBe(false);
  });
});

describe('rotation', () => {
  test('signs with the first key', async () => {
    expect(await during.sign('text')).toBe(await after.sign('text'));
    expect(await during.sign('text')).not.toBe(await before.sign('text'));
    expect(during.current.id).toBe(after.current.id);
  });

  test('verifies signatures of both keys, until the older one is removed', async () => {
    const [old, fresh] = [await before.sign('text'), await during.sign('text')];
    expect([await during.verify('text', old), await during.verify('text', fresh)]).toEqual([true, true]);
    expect([await after.verify('text', old), await after.verify('text', fresh)]).toEqual([false, true]);
  });

  test('identifies both keys by stable ids', () => {
    expect(during.byId(after.current.id)?.id).toBe(after.current.id);
    expect(during.byId(before.current.id)?.id).toBe(before.current.id);
    expect(after.byId(before.current.id)).toBeUndefined();
    expect(after.byId('')).toBeUndefined();
    expect(after.byId(undefined)).toBeUndefined();
  });
});

describe('a key', () => {
  test('has a prefix of its SHA-256 as its id', async () => {
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array(32).fill(1)));
    expect(before.current.id).toBe(hash.slice(0, 6).toHex());
  });

  test('cannot be read back', () => {
    expect(before.current.key.extractable).toBe(false);
  });

  test('is required', async () => {
    await expect(SigningKeys.import([])).rejects.toThrow('a signing key is needed');
  });
});
