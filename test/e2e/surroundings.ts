import type { Checks } from './checks.ts';
import type { Image } from './clients/client.ts';
import type { ImageName } from './images/fixtures.ts';
import type { TemporaryRegistry } from './temporary-registry.ts';

/** The arguments of each client's checks. */
export interface Surroundings {
  readonly registry: TemporaryRegistry;
  readonly images: Readonly<Record<ImageName, Image>>;
  readonly checks: Checks;
}
