/** The parts that `login`, `push`, `pull` and `copy` share. */
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InvalidArgumentError } from 'commander';
import { Authorization } from '../../src/oci-client/authorization.ts';
import { BodyLimit } from '../../src/oci-client/body-limit.ts';
import { ContentError } from '../../src/oci-client/content-error.ts';
import type { StoredManifest } from '../../src/oci-client/descriptor.ts';
import { Host } from '../../src/oci-client/host.ts';
import { RegistryError } from '../../src/oci-client/registry-error.ts';
import { Repository } from '../../src/oci-client/repository.ts';
import { credentialFor } from './docker-config.ts';
import { Failure } from './errors.ts';
import { startHash } from './hash.ts';
import { type ImageReference, referenceOf } from './reference.ts';
import { baseUrl, createTransport, type TransportOptions } from './transport.ts';

/** The hosts of registries whose images are named after another host. */
const ADDRESSES: Readonly<Record<string, string>> = {
  'docker.io': 'registry-1.docker.io',
  'index.docker.io': 'registry-1.docker.io',
};

/** @param credential by default, the one that is kept for the host */
export function connectTo(host: string, options: TransportOptions, credential = () => credentialFor(host)): Host {
  const url = baseUrl(ADDRESSES[host] ?? host, options);
  const surroundings = { transport: createTransport(options), startHash };
  return new Host(url, surroundings, new Authorization(url, credential, surroundings));
}

export function repositoryOf(
  reference: ImageReference,
  access: 'pull' | 'push',
  options: TransportOptions,
  signal: AbortSignal,
): Repository {
  return new Repository(connectTo(reference.host, options), reference.repository, access, signal);
}

/** @throws Failure if there is no such image */
export async function rootOf(repository: Repository, reference: ImageReference): Promise<StoredManifest> {
  const manifest = await repository.getManifest(referenceOf(reference));
  if (manifest !== undefined) return manifest;
  const { host, repository: name } = reference;
  throw new Failure(`${host}/${name} has no image ${referenceOf(reference)}: check the name and the tag`);
}

/** Turns an error of a registry, an image or the file system into one for people, which says what to do. */
export function explained(error: unknown): unknown {
  if (error instanceof RegistryError) {
    const advice = adviceFor(error);
    return new Failure(advice === undefined ? error.message : `${error.message}: ${advice}`, { cause: error });
  }
  const isForPeople = error instanceof ContentError || (error instanceof Error && 'syscall' in error);
  return isForPeople ? new Failure(error.message, { cause: error }) : error;
}

function adviceFor({ status, code, host }: RegistryError): string | undefined {
  if (status === 401) return `log in with berth login ${host}`;
  if (status === 413) return 'something in front of the registry accepts less: set a smaller --chunk';
  // An answer to HEAD has no body that says more.
  return status === 403 && code === ''
    ? 'the login does not have the right, or the repository is not yours'
    : undefined;
}

const folders = new Set<string>();

/** Runs `use` with a temporary folder, and removes the folder afterwards. */
export async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'berth-'));
  folders.add(folder);
  try {
    return await use(folder);
  } finally {
    folders.delete(folder);
    await rm(folder, { recursive: true, force: true });
  }
}

/** Removes the folders of {@link withFolder} before the process is ended by a signal. */
export function removeFolders(): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

const MEBIBYTE = 1024 ** 2;

export function parseJobs(text: string): number {
  if (/^[1-9]\d?$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Write a number from 1 to 99.');
}

/** @returns bytes */
export function parseChunk(text: string): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= 1 && number <= 256) return number * MEBIBYTE;
  throw new InvalidArgumentError('A chunk has 1 to 256 MiB.');
}

/** @param chunk bytes; if undefined, the host's answers set the limit */
export function limitOf(chunk: number | undefined): BodyLimit {
  return chunk === undefined ? BodyLimit.unknown() : new BodyLimit(chunk);
}
