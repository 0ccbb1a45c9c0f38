/**
 * Extracts files from Debian packages. apt keeps its lists in the cache folder, so this needs no root, changes nothing
 * on the machine, and gets packages of other architectures too.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { commandOutput, runCommand } from '../command.ts';

/** Thrown when this machine cannot get the packages. */
export class PackagesUnavailable extends Error {
  override readonly name = 'PackagesUnavailable';
}

export class DebianPackages {
  readonly #directory: string;
  #updated: Promise<void> | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Returns the first file of the package whose path matches. @throws PackagesUnavailable */
  async file(name: string, architecture: string, path: RegExp): Promise<Buffer> {
    try {
      this.#updated ??= this.#update();
      await this.#updated;
      const unpacked = await this.#unpack(await this.#concrete(name, architecture), architecture);
      const found = (await readdir(unpacked, { recursive: true })).toSorted().find((entry) => path.test(entry));
      if (found === undefined) throw new Error(`the package has no file ${path.source}`);
      return await readFile(join(unpacked, found));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new PackagesUnavailable(`Debian's package ${name} (${architecture}) could not be downloaded: ${reason}`, {
        cause: error,
      });
    }
  }

  async #update(): Promise<void> {
    await mkdir(join(this.#directory, 'lists/partial'), { recursive: true });
    await mkdir(join(this.#directory, 'cache/archives/partial'), { recursive: true });
    await writeFile(
      join(this.#directory, 'apt.conf'),
      `#clear APT::Architectures;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Architecture "amd64";
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Dir::State::Lists "${this.#directory}/lists";
Dir::Cache "${this.#directory}/cache";
`,
    );
    // An unrelated source of the machine may fail, so the download decides.
    await this.#apt('apt-get', ['update', '-q']);
  }

  /** Returns the package that a meta package depends on, such as the kernel's, or the package itself. */
  async #concrete(name: string, architecture: string): Promise<string> {
    const { output } = await this.#apt('apt-cache', ['depends', `${name}:${architecture}`]);
    return /^ *Depends: (linux-image-\S+)$/m.exec(output)?.[1] ?? name;
  }

  /** Downloads and unpacks a package, and returns its folder. */
  async #unpack(name: string, architecture: string): Promise<string> {
    const directory = join(this.#directory, `${name}-${architecture}`);
    await mkdir(directory, { recursive: true });
    const { code, output } = await this.#apt('apt-get', ['download', '-q', `${name}:${architecture}`], directory);
    const archive = (await readdir(directory)).find((file) => file.endsWith('.deb'));
    if (code !== 0 || archive === undefined) throw new Error(output.trim());
    const files = join(directory, 'files');
    await commandOutput('dpkg-deb', ['-x', join(directory, archive), files], { timeoutSeconds: 120 });
    return files;
  }

  #apt(program: 'apt-get' | 'apt-cache', args: readonly string[], directory = this.#directory) {
    return runCommand(program, [...args, '-c', join(this.#directory, 'apt.conf')], { timeoutSeconds: 300, directory });
  }
}
