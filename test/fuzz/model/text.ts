/** Texts, character by character. */
export function every(text: string, holds: (character: string) => boolean): boolean {
  for (const character of text) if (!holds(character)) return false;
  return true;
}

export function isDigit(character: string): boolean {
  return character.length === 1 && character >= '0' && character <= '9';
}

/** Nothing but digits; nothing at all as well. */
export function isDigits(text: string): boolean {
  return every(text, isDigit);
}
