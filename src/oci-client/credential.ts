/** A user with a password, or an identity token of `docker login`, which is a refresh token of OAuth 2. */
export type Credential = { readonly username: string; readonly password: string } | { readonly identityToken: string };

/**
 * Finds the credential for a registry.
 * @param receiver the address that it will be sent to: the registry, or the token service that the registry names
 * @throws Error if the credential must not be sent there
 */
export type CredentialFor = (receiver: URL) => Promise<Credential | undefined>;
