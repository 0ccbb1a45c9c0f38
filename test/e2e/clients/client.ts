import type { CommandResult } from '../command.ts';

/** An image as an OCI layout on disk. */
export interface Image {
  readonly name: string;
  readonly layout: string;
  readonly kind: 'index' | 'manifest';
  /** Whether its layers are compressed. */
  readonly gzip: boolean;
}

export type User = 'alice' | 'bob' | 'platform' | 'nobody';

export interface Pushed {
  readonly result: CommandResult;
  /** The layout with the bytes that were sent: the image's own, unless the client compresses layers anew. */
  readonly layout: string;
}

/** What a client of a registry can do. A reference is `<repository>:<tag>`, without the host. */
export interface Client {
  readonly name: string;
  readonly version: string;
  readonly login: (user: User, password: string) => Promise<CommandResult>;
  readonly push: (user: User, image: Image, reference: string) => Promise<Pushed>;
  /** Gets the image in all of its platforms, into a new OCI layout. */
  readonly pull: (user: User, image: Image, reference: string, layout: string) => Promise<CommandResult>;
  /** Pushes an image that this client pushed or can read elsewhere on the registry. */
  readonly copy: (user: User, image: Image, from: string, to: string) => Promise<CommandResult>;
  /** Gets the image for one platform of an index, and prints its id: the digest of its config. */
  readonly pullPlatform?: (user: User, reference: string, os: string, architecture: string) => Promise<CommandResult>;
  /** Prints the tags; not all clients can. */
  readonly listTags?: (user: User, repository: string) => Promise<CommandResult>;
  /** Removes the manifest behind a reference; not all clients can. */
  readonly remove?: (user: User, reference: string) => Promise<CommandResult>;
}

/** No command of a client takes longer, the 600 MiB included, unless it hangs. */
export const TIMEOUT_SECONDS = 300;
