/** Searches the log and the screen of registries that a suite starts: no secret may appear there. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DEVELOPMENT_USERS } from '../../../src/local/development-users.ts';
import { Secrets } from '../secrets.ts';

/** The secrets that the suite has sent and received so far. */
export const secrets = new Secrets();

/**
 * Searches the log and the output of a registry for its own secrets and for those that the suite used.
 * @param stateDir the folder of its log and its secrets
 * @param screen its output, which shows the passwords of the development users on purpose
 */
export async function loggedSecrets(stateDir: string, screen: string): Promise<string[]> {
  const own = JSON.parse(await readFile(join(stateDir, 'secrets.json'), 'utf8').catch(() => '{}')) as Record<
    string,
    string
  >;
  for (const [name, secret] of Object.entries(own)) secrets.add(name, secret);
  const passwords = new Secrets();
  for (const { name, password } of DEVELOPMENT_USERS) {
    passwords.add(`the password of ${name}`, password);
    passwords.addAuthorization(`Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`);
  }
  const log = await readFile(join(stateDir, 'log.jsonl'), 'utf8').catch(() => '');
  return [...secrets.find(log), ...passwords.find(log), ...secrets.find(screen)];
}

/** @throws Error that lists the secrets found */
export async function requireNoLoggedSecrets(stateDir: string, screen: string): Promise<void> {
  const found = await loggedSecrets(stateDir, screen);
  if (found.length > 0) throw new Error(`secrets were logged:\n${found.join('\n')}`);
}
