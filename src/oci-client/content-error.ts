/** The error for content that is missing or wrong, and for a registry that must not get the login. */
export class ContentError extends Error {
  override readonly name = 'ContentError';
}
