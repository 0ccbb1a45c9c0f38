/**
 * Berth's own secrets in what a client presents, also those that are nearly right: with a quote or a newline around
 * them, cut, within base64 within base64. Nothing that has a part of one is shown to the platform. Pure.
 *
 * A caller cannot use this to guess a secret piece by piece: a fragment is too long to be guessed at once.
 */
import type { Presented } from './basic.ts';

/** Characters of a secret that a text may not have in common with it: half of the shortest bootstrap secret. */
const FRAGMENT = 12;

/** Every secret that Berth makes starts so. */
const PREFIX = 'berth_';

/** Of a secret of Berth's own. */
const SECRET_LENGTH = PREFIX.length + 43;

/** What Berth makes: secrets, also without their first characters; and access tokens, by the issuer in their claims. */
const OWN_FORM = /berth_|(?:erth|rth|th)_[\w-]{24}|"iss":"berth"/i;

/** How much is read in all, in characters: the base64 of a token within a token has a third of it. */
const MAX_READ = 64 * 1024;

/** Whether any part of what is presented is of Berth's own making, or of one of the `secrets`. */
export function holdsOwnSecret({ user, password }: Presented, secrets: readonly string[]): boolean {
  const fragments = new Set(secrets.flatMap((secret) => fragmentsOf(binaryOf(secret))));
  const { texts, isWhole } = readings(user, password);
  const isOwn = (text: string): boolean =>
    OWN_FORM.test(text) || [...fragments].some((fragment) => text.includes(fragment));
  return !isWhole || texts.some(isOwn);
}

/**
 * Secrets that were presented with quotes or spaces around them, without their first characters, or without their
 * prefix and their last character: if they are any.
 */
export function possibleSecrets({ user, password }: Presented): Set<string> {
  const { texts } = readings(user, password);
  const bare = texts.map((text) => text.replace(/^[\s"'`]+|[\s"'`]+$/g, ''));
  const runs = [...new Set(texts.flatMap((text) => text.match(/[\w-]+/g) ?? []))];
  const cut = runs.filter(({ length }) => length >= SECRET_LENGTH - PREFIX.length && length <= SECRET_LENGTH);
  const completed = cut.map((run) => PREFIX.slice(0, SECRET_LENGTH - run.length) + run);
  const endless = runs.flatMap((run) => WITHOUT_LAST.exec(run)?.[1] ?? []).slice(0, MAX_ENDLESS);
  const ended = endless.flatMap((body) => LAST_CHARACTERS.map((last) => `${PREFIX}${body}${last}`));
  return new Set([...[...completed, ...bare].slice(0, MAX_POSSIBLE), ...ended]);
}

/** Each is looked up. */
const MAX_POSSIBLE = 16;

/** All but the last of the 43 characters. What has more of the prefix before them is of {@link OWN_FORM}. */
const WITHOUT_LAST = /^(?:h?_)?([\w-]{42})$/;

/** The last of 43 base64url characters has 4 bits of the 256. */
const LAST_CHARACTERS = 'AEIMQUYcgkosw048'.split('');

/** Each is looked up with every last character. */
const MAX_ENDLESS = 4;

/**
 * The texts themselves, and what their base64 says, in any of its alphabets, from any of its characters on, and what
 * that says in turn. As bytes, one character each. Not whole where that comes to more than any token does.
 */
function readings(...presented: readonly string[]): { readonly texts: readonly string[]; readonly isWhole: boolean } {
  const texts = new Set(presented.flatMap((text) => [binaryOf(text), binaryOf(text.replace(/[\s"'`]+/g, ''))]));
  let size = 0;
  // A set is walked in order, what is added meanwhile included.
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
    // One whose first characters are missing is read from where a group of four starts again.
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

/** UTF-8, one character for each byte. */
function binaryOf(text: string): string {
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join('');
}
