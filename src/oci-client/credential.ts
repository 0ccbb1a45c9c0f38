/** A user with a password, or what `docker login` calls an identity token: a refresh token of OAuth 2. */
export type Credential = { readonly username: string; readonly password: string } | { readonly identityToken: string };
