/** The sources of `push`: an image in docker, an archive of one, or an OCI layout in a folder or an archive. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageSource } from '../../../src/oci-client/copy-image.ts';
import type { StoredManifest } from '../../../src/oci-client/descriptor.ts';
import { Failure, WrongUse } from '../errors.ts';
import { DockerArchiveSource } from './docker-archive.ts';
import { FolderFiles, type ImageFiles } from './files.ts';
import { LayoutSource } from './layout-source.ts';
import { TarFiles } from './tar-files.ts';

export interface OpenedSource {
  readonly source: ImageSource;
  readonly root: StoredManifest;
}

interface Surroundings {
  /** A folder that only this push uses. */
  readonly folder: string;
  readonly tell: (line: string) => void;
}

/**
 * Opens a source: `docker:NAME`, `docker-archive:FILE[:NAME]`, `oci:FOLDER[:TAG]`, `oci-archive:FILE[:TAG]`, or a path
 * alone. For a path alone, the content decides.
 * @throws WrongUse, Failure
 */
export async function openSource(text: string, surroundings: Surroundings): Promise<OpenedSource> {
  const [, transport, rest = ''] = /^(docker|docker-archive|oci|oci-archive):(.*)$/s.exec(text) ?? [
    undefined,
    '',
    text,
  ];
  if (rest === '') throw new WrongUse(`${text} does not name an image: write a path or a name after the colon`);
  if (transport === 'docker') {
    const saved = await saveFromDocker(rest, surroundings);
    return openDockerArchive(await TarFiles.open(saved), undefined, surroundings);
  }
  const { path, name, isFolder } = await splitPath(rest);
  const files: ImageFiles = isFolder ? new FolderFiles(path) : await TarFiles.open(path);
  const isLayout = transport === '' ? (await files.sizeOf('index.json')) !== undefined : transport !== 'docker-archive';
  // `docker save` writes both forms into one archive, but does not compress the layers of its layout.
  const hasSaved = transport === '' && (await files.sizeOf('manifest.json')) !== undefined;
  if (!isLayout || hasSaved) return openDockerArchive(files, name, surroundings);
  const source = new LayoutSource(files);
  return { source, root: await source.root(name) };
}

async function openDockerArchive(
  files: ImageFiles,
  name: string | undefined,
  { folder, tell }: Surroundings,
): Promise<OpenedSource> {
  const onLayer = (number: number, of: number): void => tell(`compressing layer ${number} of ${of}`);
  const source = await DockerArchiveSource.open(files, name, { folder, onLayer });
  return { source, root: source.root };
}

/** Splits a path from the name after it. Either may have colons. */
async function splitPath(text: string): Promise<{ path: string; name: string | undefined; isFolder: boolean }> {
  for (let colon = text.length; colon > 0; colon = text.lastIndexOf(':', colon - 1)) {
    const path = text.slice(0, colon);
    const found = await stat(path).catch(() => undefined);
    const name = colon === text.length ? undefined : text.slice(colon + 1);
    if (found !== undefined) return { path, name, isFolder: found.isDirectory() };
  }
  throw new WrongUse(`there is no file or folder ${text}: for an image in docker, write docker:${text}`);
}

async function saveFromDocker(name: string, { folder, tell }: Surroundings): Promise<string> {
  tell(`saving ${name} from docker`);
  const path = join(folder, 'saved.tar');
  const file = await open(path, 'w', 0o600);
  try {
    const child = spawn('docker', ['save', '--', name], { stdio: ['ignore', file.fd, 'inherit'] });
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== 0) throw new Failure(`docker could not save ${name}: fix the problem that docker reports above`);
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    throw new Failure("docker can't be run: install it, or save the image elsewhere, and push docker-archive:FILE", {
      cause,
    });
  } finally {
    await file.close();
  }
  return path;
}
