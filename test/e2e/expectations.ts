import { DEVELOPMENT_USERS } from '../../src/local/development-users.ts';
import type { User } from './clients/client.ts';
import type { CommandResult } from './command.ts';

/** @throws the client's output, if it failed */
export function succeeded(result: CommandResult): void {
  if (result.code !== 0) throw new Error(`exit status ${result.code ?? 'none'}: ${result.output}`);
}

/**
 * Expects a failure whose output matches `words`. They are a pattern because each client phrases the reason
 * differently.
 * @throws when the client succeeded, or failed for another reason
 */
export function failedWith(result: CommandResult, words: RegExp): void {
  if (result.code === 0) throw new Error(`it succeeded: ${result.output}`);
  if (!words.test(result.output)) throw new Error(`the client failed, but not with ${words.source}: ${result.output}`);
}

/** @throws when the lists differ */
export function same(actual: readonly string[], expected: readonly string[]): void {
  const [left, right] = [actual.toSorted().join('\n'), expected.toSorted().join('\n')];
  if (left !== right) throw new Error(`expected\n${right}\nbut found\n${left}`);
}

export function passwordOf(user: User | 'admin'): string {
  const found = DEVELOPMENT_USERS.find(({ name }) => name === user);
  if (found === undefined) throw new Error(`there is no user ${user}`);
  return found.password;
}
