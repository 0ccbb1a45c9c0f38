/**
 * How often an isolate tells the audit log of refused logins: anybody can make them up, and each would be a write. Of
 * one user at one address it tells the first, second, fourth, eighth … of an hour, with those since it told the last
 * time, so the log has at least half of them. Of an address that tries many users, it tells the later ones as one
 * without a name.
 */
const SOURCES = 1000;
const USERS_OF_A_SOURCE = 16;

interface Told {
  refused: number;
  told: number;
}

export class RefusedLogins {
  readonly #sources = new Map<string, Map<string, Told>>();

  /**
   * Counts one more.
   * @param source tells addresses, hours and stores apart; neither this nor `user` is a secret or long: both are kept
   * @returns how many to tell the log of now, 0 for none; and whether under the user's name
   */
  add(source: string, user: string): { readonly count: number; readonly isNamed: boolean } {
    const users = this.#sources.get(source) ?? new Map<string, Told>();
    if (this.#sources.size >= SOURCES) this.#sources.clear();
    this.#sources.set(source, users);
    const isNamed = users.has(user) || users.size < USERS_OF_A_SOURCE;
    const key = isNamed ? user : '';
    const known = users.get(key) ?? { refused: 0, told: 0 };
    users.set(key, known);
    known.refused += 1;
    if (!Number.isInteger(Math.log2(known.refused))) return { count: 0, isNamed };
    const count = known.refused - known.told;
    known.told = known.refused;
    return { count, isNamed };
  }
}
