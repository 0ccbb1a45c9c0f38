/** The error for content that is missing or not what it should be, and for what a registry must not be trusted with. */
export class ContentError extends Error {
  override readonly name = 'ContentError';
}
