/** The checks of every client. Each client uses its own repositories: `alice/<client>/<image>`. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checks } from './checks.ts';
import type { Client, Image, User } from './clients/client.ts';
import { deleteOverHttp } from './delete-over-http.ts';
import { failedWith, passwordOf, same, succeeded } from './expectations.ts';
import type { ImageName } from './images/fixtures.ts';
import { blobsOf, configOf, differences } from './images/layout.ts';
import { mountedBlobs, requestsDuring, uploadedBlobs } from './request-log.ts';
import type { TemporaryRegistry } from './temporary-registry.ts';

/** Clients show only the status of a HEAD, because its answer has no body. */
const REFUSED = /denied|unauthorized|authentication required|403|status 401/i;
const WRONG_PASSWORD = /wrong|invalid username|unauthorized/i;
export const ABSENT = /manifest[ _]unknown|name[ _]unknown|not found|404|has no image/i;

export class Scenario {
  readonly #client: Client;
  readonly #registry: TemporaryRegistry;
  readonly #images: Readonly<Record<ImageName, Image>>;
  readonly #checks: Checks;
  readonly #original: string;
  /** The layouts with the bytes that were sent. */
  readonly #sent = new Map<Image, string>();

  constructor(client: Client, registry: TemporaryRegistry, images: Readonly<Record<ImageName, Image>>, checks: Checks) {
    this.#client = client;
    this.#registry = registry;
    this.#images = images;
    this.#checks = checks;
    this.#original = `${this.#repository('unikraft')}:v1`;
  }

  async run(): Promise<void> {
    const { unikraft, large, 'multi-platform': multiPlatform } = this.#images;
    await this.#logIn();
    await this.#pushAndPull(unikraft);
    await this.#pushAndPull(multiPlatform);
    await this.#pushAndPull(large);
    await this.#pullOnePlatform();
    await this.#copyAndList();
    await this.#rights();
    await this.#remove();
  }

  async #logIn(): Promise<void> {
    await this.#check('a wrong password is refused', async () => {
      failedWith(await this.#client.login('alice', 'not-her-password'), WRONG_PASSWORD);
    });
    for (const user of ['alice', 'bob', 'platform'] as const) {
      await this.#check(`log in as ${user}`, async () => succeeded(await this.#client.login(user, passwordOf(user))));
    }
  }

  async #pushAndPull(image: Image): Promise<void> {
    const repository = this.#repository(image.name);
    const reference = `${repository}:v1`;
    await this.#check(`push ${image.name}`, async () => {
      let seconds = 0;
      const requests = await requestsDuring(this.#registry, async () => {
        const { result, layout } = await this.#client.push('alice', image, reference);
        succeeded(result);
        this.#sent.set(image, layout);
        seconds = result.seconds;
      });
      // A client that asks for mounts without a source finds blobs that others pushed.
      if (mountedBlobs(requests, repository).length > 0) return 'by mounting';
      return image.name === 'large' ? `600 MiB in ${seconds.toFixed(1)} s` : undefined;
    });
    await this.#check(`pull ${image.name}, byte for byte`, () => this.#pullAndCompare('alice', image, reference));
  }

  async #pullOnePlatform(): Promise<void> {
    const { pullPlatform } = this.#client;
    if (pullPlatform === undefined) return;
    await this.#check('pull one platform of multi-platform', async () => {
      const result = await pullPlatform('alice', `${this.#repository('multi-platform')}:v1`, 'linux', 'arm64');
      succeeded(result);
      const { digest } = await configOf(this.#images['multi-platform'].layout, 'arm64');
      if (!result.output.includes(digest.replace('sha256:', '')))
        throw new Error(`expected ${digest}: ${result.output}`);
    });
  }

  async #copyAndList(): Promise<void> {
    const { listTags } = this.#client;
    const { unikraft } = this.#images;
    const target = this.#repository('copy');
    await this.#check('copy to another repository, by mounting its layers', async () => {
      const requests = await requestsDuring(this.#registry, async () =>
        succeeded(await this.#client.copy('alice', unikraft, this.#original, `${target}:v1`)),
      );
      const layers = await blobsOf(this.#sentLayout(unikraft), 'layers');
      const [mounted, uploaded] = [mountedBlobs(requests, target), uploadedBlobs(requests, target)];
      same(
        mounted.filter((digest) => layers.includes(digest)),
        layers,
      );
      same(
        uploaded.filter((digest) => layers.includes(digest)),
        [],
      );
    });
    await this.#check('pull the copy, byte for byte', () => this.#pullAndCompare('alice', unikraft, `${target}:v1`));
    await this.#check('tag again', async () => {
      succeeded(await this.#client.copy('alice', unikraft, this.#original, `${this.#repository('unikraft')}:v2`));
    });
    if (listTags === undefined) return;
    await this.#check('list tags', async () => {
      const result = await listTags('alice', this.#repository('unikraft'));
      succeeded(result);
      same(result.output.match(/\bv\d+\b/g) ?? [], ['v1', 'v2']);
    });
  }

  async #rights(): Promise<void> {
    const { unikraft } = this.#images;
    const foreign = `${this.#repository('foreign')}:v1`;
    for (const user of ['bob', 'nobody'] as const) {
      await this.#check(`${user} can't pull from alice`, async () => {
        failedWith(await this.#pull(user, unikraft, this.#original), REFUSED);
      });
    }
    for (const user of ['bob', 'platform', 'nobody'] as const) {
      await this.#check(`${user} can't push to alice`, async () => {
        failedWith((await this.#client.push(user, unikraft, foreign)).result, REFUSED);
      });
    }
    await this.#check('platform can pull from alice', () => this.#pullAndCompare('platform', unikraft, this.#original));
  }

  async #remove(): Promise<void> {
    const { unikraft } = this.#images;
    const remove = this.#client.remove ?? ((user, reference) => deleteOverHttp(this.#registry, user, reference));
    await this.#check("bob can't delete from alice", async () =>
      failedWith(await remove('bob', this.#original), REFUSED),
    );
    await this.#check('delete', async () => succeeded(await remove('alice', this.#original)));
    for (const tag of ['v1', 'v2']) {
      await this.#check(`a deleted image can't be pulled (${tag})`, async () => {
        failedWith(await this.#pull('alice', unikraft, `${this.#repository('unikraft')}:${tag}`), ABSENT);
      });
    }
  }

  async #pullAndCompare(user: User, image: Image, reference: string): Promise<void> {
    const layout = this.#pulledLayout();
    try {
      succeeded(await this.#client.pull(user, image, reference, layout));
      const found = await differences(this.#sentLayout(image), layout);
      if (found.length > 0) throw new Error(found.join('\n'));
    } finally {
      await rm(layout, { recursive: true, force: true });
    }
  }

  async #pull(user: User, image: Image, reference: string) {
    const layout = this.#pulledLayout();
    const result = await this.#client.pull(user, image, reference, layout);
    await rm(layout, { recursive: true, force: true });
    return result;
  }

  #sentLayout(image: Image): string {
    return this.#sent.get(image) ?? image.layout;
  }

  #pulledLayout(): string {
    return join(this.#registry.directory, 'pulled');
  }

  #repository(name: string): string {
    return `alice/${this.#client.name}/${name}`;
  }

  #check(name: string, body: () => Promise<string | void>): Promise<boolean> {
    return this.#checks.check(`${this.#client.name}: ${name}`, body);
  }
}
