/**
 * Finds Berth's own secrets in what a client presents, so that they are never sent to the platform. It also finds
 * secrets that are nearly right: quoted, followed by a newline, cut off, or in nested base64. A login that contains any
 * part of a secret stays here. This file is pure.
 *
 * A caller cannot guess a secret piece by piece with it, because one fragment is already too long to guess.
 */
import type { Presented } from './basic.ts';
import { LAST_CHARACTERS } from './mac-spelling.ts';

/**
 * The number of consecutive characters of a secret that a text must contain to count as holding it: half of the
 * shortest bootstrap secret.
 */
const FRAGMENT = 12;

/** The start of every secret that Berth generates. */
const PREFIX = 'berth_';

/** The number of characters in a secret that Berth generates. */
const SECRET_LENGTH = PREFIX.length + 43;

/**
 * Matches secrets that Berth generates, even without their first characters, and its access tokens, by the issuer in
 * their claims.
 */
const OWN_FORM = /berth_|(?:erth|rth|th)_[\w-]{24}|"iss":"berth"/i;

/** The most characters that are searched in all. The base64 of a token within a token takes a third of this. */
const MAX_READ = 64 * 1024;

/** Returns whether the login contains anything that Berth generated, or a fragment of one of the `secrets`. */
export function holdsOwnSecret({ user, password }: Presented, secrets: readonly string[]): boolean {
  const fragments = new Set(secrets.flatMap((secret) => fragmentsOf(binaryOf(secret))));
  const { texts, isWhole } = readings(user, password);
  const isOwn = (text: string): boolean =>
    OWN_FORM.test(text) || [...fragments].some((fragment) => text.includes(fragment));
  return !isWhole || texts.some(isOwn);
}

/**
 * Returns the secrets that the client may have meant: what it presented without quotes and spaces around it, with the
 * first characters added, or with the prefix and the last character added. The caller must check whether they exist.
 */
export function possibleSecrets({ user, password }: Presented): Set<string> {
  const { texts } = readings(user, password);
  const bare = texts.map((text) => text.replace(/^[\s"'`]+|[\s"'`]+$/g, ''));
  const runs = [...new Set(texts.flatMap((text) => text.match(/[\w-]+/g) ?? []))];
  const cut = runs.filter(({ length }) => length >= SECRET_LENGTH - PREFIX.length && length <= SECRET_LENGTH);
  const completed = cut.map((run) => PREFIX.slice(0, SECRET_LENGTH - run.length) + run);
  const withoutLast = runs.flatMap((run) => WITHOUT_LAST.exec(run)?.[1] ?? []).slice(0, MAX_WITHOUT_LAST);
  const ended = withoutLast.flatMap((body) => LAST_CHARACTERS.split('').map((last) => `${PREFIX}${body}${last}`));
  return new Set([...[...completed, ...bare].slice(0, MAX_POSSIBLE), ...ended]);
}

/** The most secrets that are looked up. */
const MAX_POSSIBLE = 16;

/**
 * Matches all but the last of the 43 characters. {@link OWN_FORM} already matches if more of the prefix comes first.
 */
const WITHOUT_LAST = /^(?:h?_)?([\w-]{42})$/;

/** The most secrets without a last character that are looked up, each with every last character. */
const MAX_WITHOUT_LAST = 4;

/**
 * Returns the texts, and everything that their base64 decodes to, repeatedly. It tries both alphabets and starts at any
 * character. Each character of a result is a byte. `isWhole` is false if that is more than any token has.
 */
function readings(...presented: readonly string[]): { readonly texts: readonly string[]; readonly isWhole: boolean } {
  const texts = new Set(presented.flatMap((text) => [binaryOf(text), binaryOf(text.replace(/[\s"'`]+/g, ''))]));
  let size = 0;
  // The loop also visits the texts that are added to the set while it runs.
  for (const text of texts) {
    size += text.length;
    if (size > MAX_READ) return { texts: [...texts], isWhole: false };
    for (const within of base64Within(text)) texts.add(within);
  }
  return { texts: [...texts], isWhole: true };
}

function base64Within(text: string): string[] {
  const runs = text.match(/[A-Za-z0-9+/_-]{16,}/g) ?? [];
  return runs.flatMap((run) => {
    const standard = run.replaceAll('-', '+').replaceAll('_', '/');
    // If the first characters are missing, a group of four starts at one of the next four.
    return [0, 1, 2, 3].map((start) => {
      const groups = Math.floor((standard.length - start) / 4);
      const rest = (standard.length - start) % 4;
      return atob(standard.slice(start, start + 4 * groups + (rest === 1 ? 0 : rest)));
    });
  });
}

function fragmentsOf(text: string): string[] {
  return Array.from({ length: Math.max(0, text.length - FRAGMENT + 1) }, (_, i) => text.slice(i, i + FRAGMENT));
}

/** Returns the UTF-8 bytes of a text, each as one character. */
function binaryOf(text: string): string {
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join('');
}
