import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CACHE } from './cache.ts';
import { isInstalled, commandOutput } from './command.ts';

export const GO_REMEDY =
  'Go 1.24 or newer is needed: https://go.dev/doc/install, or your system\'s package ("golang-go" on Debian 13, "go" in Homebrew).';

export function hasGo(): Promise<boolean> {
  return isInstalled('go', 'version');
}

/**
 * Builds a program at a pinned version and answers its path. Built rather than run by `go run`, so that stopping the
 * process stops the program. Go's own cache makes this quick from the second time on.
 * @throws when it cannot be built
 */
export async function buildGoProgram(packagePath: string, version: string): Promise<string> {
  const bin = join(CACHE, 'bin', version);
  await commandOutput('go', ['install', `${packagePath}@${version}`], {
    timeoutSeconds: 900,
    env: { GOBIN: bin },
  });
  const program = join(bin, packagePath.split('/').at(-1) ?? '');
  if (!existsSync(program)) throw new Error(`go install left no ${program}`);
  return program;
}
