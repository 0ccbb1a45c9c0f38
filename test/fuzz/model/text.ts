/** Returns whether every character of the text satisfies the condition. */
export function every(text: string, holds: (character: string) => boolean): boolean {
  for (const character of text) if (!holds(character)) return false;
  return true;
}

export function isDigit(character: string): boolean {
  return character.length === 1 && character >= '0' && character <= '9';
}

/** Returns whether the text is only digits; true for an empty text. */
export function isDigits(text: string): boolean {
  return every(text, isDigit);
}
