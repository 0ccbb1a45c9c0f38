/** The grammars of the distribution spec ("Pulling manifests"), read character by character. */
import { every, isDigit } from './text.ts';

/** Returns whether the spec permits the name: components of letters and digits, with one separator between two runs. */
export function isSpecName(text: string): boolean {
  return text.split('/').every(isComponent);
}

/** Returns whether the text is `<organization>/<path…>`, in at most 255 characters. */
export function isRepositoryName(text: string): boolean {
  return text.length <= 255 && text.includes('/') && isSpecName(text);
}

export function isOrganizationName(text: string): boolean {
  return isComponent(text);
}

export function organizationOf(name: string): string {
  return name.split('/', 1)[0] ?? '';
}

function isComponent(text: string): boolean {
  let separator = '';
  let last = '';
  for (const character of text) {
    if (isLowercase(character) || isDigit(character)) {
      if (separator !== '' && (last === '' || !isSeparator(separator))) return false;
      separator = '';
    } else separator += character;
    if (separator === '') last = character;
  }
  return last !== '' && separator === '';
}

function isSeparator(text: string): boolean {
  return ['.', '_', '__'].includes(text) || every(text, (character) => character === '-');
}

export function isTag(text: string): boolean {
  const isWord = (character: string): boolean =>
    isLowercase(character.toLowerCase()) || isDigit(character) || character === '_';
  return (
    text.length >= 1 &&
    text.length <= 128 &&
    isAscii(text) &&
    isWord(text[0] ?? '') &&
    every(text, (character) => isWord(character) || character === '.' || character === '-')
  );
}

const HEX_DIGITS = new Map([
  ['sha256', 64],
  ['sha512', 128],
]);

/** Returns whether the text is a sha256 or sha512 digest, in lowercase hexadecimal (image-spec, "Digests"). */
export function isDigest(text: string): boolean {
  const [algorithm = '', hex = '', ...rest] = text.split(':');
  return (
    rest.length === 0 &&
    hex.length === HEX_DIGITS.get(algorithm) &&
    every(hex, (digit) => '0123456789abcdef'.includes(digit))
  );
}

/**
 * Returns whether the text is a digest of any algorithm: runs of lowercase letters and digits with one of `+._-`
 * between them, a colon, and the encoded part.
 */
export function isAnyDigest(text: string): boolean {
  const colon = text.indexOf(':');
  const [algorithm, encoded] = [text.slice(0, colon), text.slice(colon + 1)];
  if (colon < 0 || encoded === '' || text.length > 255) return false;
  if (HEX_DIGITS.has(algorithm)) return isDigest(text);
  const runs = algorithm.split(/[+._-]/);
  const isAlphanumeric = (character: string): boolean => isLowercase(character) || isDigit(character);
  return (
    runs.every((part) => part !== '' && every(part, isAlphanumeric)) &&
    every(
      encoded,
      (character) => '=_-'.includes(character) || (isAscii(character) && isAlphanumeric(character.toLowerCase())),
    )
  );
}

function isLowercase(character: string): boolean {
  return character.length === 1 && character >= 'a' && character <= 'z';
}

function isAscii(text: string): boolean {
  return every(text, (character) => character <= '\u007F');
}
