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
  /** The layout with the bytes that were sent: the image's own, unless the client compresses layers again. */
  readonly layout: string;
}

/** The commands of a registry client. A reference is `<repository>:<tag>`, without the host. */
export interface Client {
  readonly name: string;
  readonly version: string;
  readonly login: (user: User, password: string) => Promise<CommandResult>;
  readonly push: (user: User, image: Image, reference: string) => Promise<Pushed>;
  /** Pulls the image for all of its platforms into a new OCI layout. */
  readonly pull: (user: User, image: Image, reference: string, layout: string) => Promise<CommandResult>;
  /** Copies an image that this client pushed, or can read elsewhere on the registry. */
  readonly copy: (user: User, image: Image, from: string, to: string) => Promise<CommandResult>;
  /** Pulls the image for one platform of an index, and prints its id: the digest of its config. */
  readonly pullPlatform?: (user: User, reference: string, os: string, architecture: string) => Promise<CommandResult>;
  /** Prints the tags; undefined if the client cannot. */
  readonly listTags?: (user: User, repository: string) => Promise<CommandResult>;
  /** Deletes the manifest of a reference; undefined if the client cannot. */
  readonly remove?: (user: User, reference: string) => Promise<CommandResult>;
}

/** Long enough for every command, including 600 MiB, so that only a hanging client exceeds it. */
export const TIMEOUT_SECONDS = 300;
