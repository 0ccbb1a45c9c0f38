/**
 * Limits how often an isolate reports refused logins to the audit log. Anyone can cause them, and each report is a
 * write. For a user at an address it reports the first, second, fourth, eighth … in an hour, each time with the count
 * since the last report, so the log has at least half of them. If an address tries many users, the later ones are
 * reported together without a name.
 */
const SOURCES = 1000;
const USERS_OF_A_SOURCE = 16;

interface Counts {
  refused: number;
  reported: number;
}

export class RefusedLogins {
  readonly #sources = new Map<string, Map<string, Counts>>();

  /**
   * Counts a refused login.
   * @param source identifies the address, hour and store. It and `user` are kept, so they must be short and not secret.
   * @returns how many to report now, 0 for none, and whether to report them under the user's name
   */
  add(source: string, user: string): { readonly count: number; readonly isNamed: boolean } {
    const users = this.#sources.get(source) ?? new Map<string, Counts>();
    if (this.#sources.size >= SOURCES) this.#sources.clear();
    this.#sources.set(source, users);
    const isNamed = users.has(user) || users.size < USERS_OF_A_SOURCE;
    const key = isNamed ? user : '';
    const counts = users.get(key) ?? { refused: 0, reported: 0 };
    users.set(key, counts);
    counts.refused += 1;
    if (!Number.isInteger(Math.log2(counts.refused))) return { count: 0, isNamed };
    const count = counts.refused - counts.reported;
    counts.reported = counts.refused;
    return { count, isNamed };
  }
}
