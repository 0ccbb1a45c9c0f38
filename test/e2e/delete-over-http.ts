import type { User } from './clients/client.ts';
import type { CommandResult } from './command.ts';
import { passwordOf } from './expectations.ts';
import type { TemporaryRegistry } from './temporary-registry.ts';

/**
 * Deletes the manifest of a reference over HTTP, for clients that only delete local images. Returns a result like
 * theirs.
 */
export async function deleteOverHttp(
  { host }: TemporaryRegistry,
  user: User,
  reference: string,
): Promise<CommandResult> {
  const started = performance.now();
  const colon = reference.lastIndexOf(':');
  const manifests = `http://${host}/v2/${reference.slice(0, colon)}/manifests`;
  const headers = { Authorization: `Basic ${btoa(`${user}:${passwordOf(user)}`)}` };
  const found = await fetch(`${manifests}/${reference.slice(colon + 1)}`, { method: 'HEAD', headers });
  const digest = found.headers.get('Docker-Content-Digest');
  const answer = digest === null ? found : await fetch(`${manifests}/${digest}`, { method: 'DELETE', headers });
  const output = `${answer.status} ${await answer.text()}`;
  return { code: answer.ok ? 0 : 1, output, seconds: (performance.now() - started) / 1000 };
}
