import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CACHE } from './cache.ts';
import { commandOutput, installedVersion } from './command.ts';

export const GO_REMEDY =
  'Go 1.24 or newer is needed: https://go.dev/doc/install, or your system\'s package ("golang-go" on Debian 13, "go" in Homebrew).';

const BUILD_SECONDS = 1800;

export async function hasGo(): Promise<boolean> {
  return (await installedVersion('go', 'version')) !== undefined;
}

/**
 * Builds a program at a pinned version, or reuses an earlier build, and returns its path. `go run` would not do:
 * stopping it would not stop the program.
 * @throws when it cannot be built
 */
export function buildGoProgram(packagePath: string, version: string): Promise<string> {
  return kept(basename(packagePath), version, async (directory) => {
    await goOutput(['install', `${packagePath}@${version}`], { GOBIN: directory });
  });
}

/** Builds a program in its module's folder: `go install` refuses modules whose go.mod excludes or replaces others. */
export function buildInGoModule(module: string, folder: string, version: string): Promise<string> {
  return kept(basename(folder), version, async (directory) => {
    const { Dir } = JSON.parse(await goOutput(['mod', 'download', '-json', `${module}@${version}`])) as {
      readonly Dir: string;
    };
    await goOutput(['-C', Dir, 'build', '-o', join(directory, basename(folder)), `./${folder}`]);
  });
}

async function kept(name: string, version: string, build: (directory: string) => Promise<void>): Promise<string> {
  const program = join(CACHE, 'bin', version, name);
  if (existsSync(program)) return program;
  await mkdir(dirname(program), { recursive: true });
  const directory = await mkdtemp(join(CACHE, 'bin', 'building-'));
  try {
    const started = performance.now();
    await build(directory);
    // Rename only complete programs into place.
    await rename(join(directory, name), program);
    console.log(`built ${name} ${version} in ${Math.round((performance.now() - started) / 1000)} s`);
    return program;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function goOutput(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  return commandOutput('go', args, { timeoutSeconds: BUILD_SECONDS, env });
}
