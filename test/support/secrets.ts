/**
 * Collects the secrets that a test uses, and searches logs for them. It searches for each secret in every form that a
 * log line could hold. Anything shaped like one of Berth's secrets counts as a secret, too.
 */

/** Shorter secrets, such as a test's wrong password "x", would be found by chance. */
const SHORTEST = 8;

/** Characters of a secret's start that the search looks up. */
const START = 8;

const SHAPES: readonly (readonly [what: string, shape: RegExp])[] = [
  ['an access token', /eyJ[\w-]{10,}\.[\w-]+\.[\w-]*/],
  ['a signed upload reference', /\.sha(?:256|512)\.[\w-]{43}/],
  ['a secret of a credential', /berth_[\w-]{43}/],
  ['an Authorization header', /\b(?:Basic|Bearer) +[\w+/.~-]{8,}/i],
  // 256 bits in base64url: signatures, generated secrets. Names and digests do not mix cases.
  ['256 bits in base64url', /(?<![\w-])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{43}(?![\w-])/],
];

export class Secrets {
  /** Maps the first characters of secrets to the texts that begin so, and each text to the name of its secret. */
  readonly #forms = new Map<string, Map<string, string>>();

  /** Adds a secret. @param what names it in a finding */
  add(what: string, secret: string): void {
    if (secret.length < SHORTEST) return;
    const escaped = JSON.stringify(secret).slice(1, -1);
    for (const text of new Set([secret, escaped, encodeURIComponent(secret), base64(secret), hex(secret)])) {
      const start = text.slice(0, START);
      const known = this.#forms.get(start) ?? new Map<string, string>();
      if (!known.has(text)) this.#forms.set(start, known.set(text, what));
    }
  }

  /** Adds an Authorization header: all of it, and the password or signature in it. */
  addAuthorization(header: string): void {
    const [scheme = '', value = ''] = header.split(/ +/, 2);
    this.add('an Authorization header', value);
    if (scheme.toLowerCase() === 'bearer') this.addToken(value);
    if (scheme.toLowerCase() !== 'basic') return;
    const decoded = decodedBase64(value);
    this.add('a password', decoded.slice(decoded.indexOf(':') + 1));
  }

  addToken(token: string): void {
    this.add('an access token', token);
    this.add('the signature of an access token', token.split('.')[2] ?? '');
  }

  /** Adds the signature in an upload's Location. */
  addLocation(location: string): void {
    // A repository's name may contain `/blobs/uploads/`, too.
    const reference = /\/blobs\/uploads\/([^/?]+)(?:\?|$)/.exec(location)?.[1];
    if (reference !== undefined)
      this.add('the signature of an upload', reference.slice(reference.lastIndexOf('.') + 1));
  }

  /** Adds the token or the new credential's secret in the JSON of an answer. */
  addAnswer(json: string): void {
    for (const [, name = '', value = ''] of json.matchAll(/"(token|access_token|secret)":"([^"]*)"/g)) {
      if (name === 'secret') this.add('the secret of a credential', value);
      else this.addToken(value);
    }
  }

  /** Returns the secrets found in a text, each with its line. */
  find(text: string): string[] {
    const found = new Set<string>();
    for (const line of text.split('\n')) {
      for (let i = 0; i + START <= line.length; i++) {
        for (const [form, what] of this.#forms.get(line.slice(i, i + START)) ?? []) {
          if (line.startsWith(form, i)) found.add(`${what} in: ${line}`);
        }
      }
      for (const [what, shape] of SHAPES) if (shape.test(line)) found.add(`${what} in: ${line}`);
    }
    return [...found];
  }
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text))).replace(/=+$/, '');
}

function hex(text: string): string {
  return [...new TextEncoder().encode(text)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function decodedBase64(text: string): string {
  try {
    return atob(text);
  } catch {
    return '';
  }
}
