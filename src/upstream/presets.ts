/** Registries that many images come from, with the peculiarities of each. */

export interface Preset {
  readonly registry: string;
  /** The host of its token service, if it is another. */
  readonly loginHost?: string;
  /** Whether it lists its repositories. */
  readonly hasCatalog: boolean;
  /** The path that a name of one component stands below: Docker Hub's `alpine` is `library/alpine`. */
  readonly library?: string;
}

const HUB: Preset = {
  registry: 'https://registry-1.docker.io',
  loginHost: 'auth.docker.io',
  hasCatalog: false,
  library: 'library',
};

export const PRESETS = {
  hub: HUB,
  ghcr: { registry: 'https://ghcr.io', hasCatalog: false },
  quay: { registry: 'https://quay.io', hasCatalog: true },
  gcr: { registry: 'https://gcr.io', hasCatalog: true },
  k8s: { registry: 'https://registry.k8s.io', hasCatalog: false },
  'ecr-public': { registry: 'https://public.ecr.aws', hasCatalog: false },
} as const satisfies Readonly<Record<string, Preset>>;

/** The names of all presets, for people. */
export const PRESET_NAMES = Object.keys(PRESETS).join(', ');

/** Other names that people know Docker Hub by. */
const HUB_HOSTS: ReadonlySet<string> = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);

/** Returns the preset of that name; undefined if there is none. */
export function presetNamed(name: string): Preset | undefined {
  return Object.hasOwn(PRESETS, name) ? PRESETS[name as keyof typeof PRESETS] : undefined;
}

/** Returns the preset for a registry that is given by its host; undefined if it has none. */
export function presetOfHost(host: string): Preset | undefined {
  if (HUB_HOSTS.has(host)) return HUB;
  return Object.values(PRESETS).find(({ registry }) => new URL(registry).host === host);
}
