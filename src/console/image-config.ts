/**
 * The config of an image, as a build tool wrote it (image-spec, "OCI Image Configuration"; Docker's has the same
 * fields). Nothing has checked it, so any field may be missing or have another type than expected.
 */
import { z } from 'zod';
import { type Descriptor, platformOf } from './manifest.ts';
import { boundedJson } from '../oci/json-limits.ts';
import { type RegistryClient, unless } from './registry-client.ts';

/** The largest config that a page reads, in bytes. */
const MAX_CONFIG_BYTES = 256 * 1024;

const MEDIA_TYPES: ReadonlySet<string> = new Set([
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
]);

const text = z.string().optional().catch(undefined);
const texts = z
  .array(z.string().catch(''))
  .optional()
  .catch(undefined)
  .transform((each = []) => each);
const record = z
  .record(z.string(), z.unknown())
  .optional()
  .catch(undefined)
  .transform((each = {}) => each);

const config = z.object({
  created: text,
  author: text,
  os: text,
  architecture: text,
  variant: text,
  config: z
    .object({
      User: text,
      WorkingDir: text,
      Entrypoint: texts,
      Cmd: texts,
      Env: texts,
      ExposedPorts: record,
      Volumes: record,
      StopSignal: text,
      Labels: record,
    })
    .optional()
    .catch(undefined),
  history: z
    .array(
      z
        .object({
          created: text,
          created_by: text,
          comment: text,
          empty_layer: z.boolean().optional().catch(undefined),
        })
        .nullable()
        .catch(null),
    )
    .optional()
    .catch(undefined)
    .transform((steps = []) => steps.filter((step) => step !== null)),
});

/** One step of the build. */
export interface BuildStep {
  /** As ISO text; null if the config has no valid time. */
  readonly created: string | null;
  readonly command: string;
  /** Whether the step made a layer. */
  readonly hasLayer: boolean;
}

export interface ShownConfig {
  readonly created: string | null;
  /** The settings that a container starts with, by name; each has at least one value. */
  readonly settings: readonly (readonly [name: string, values: readonly string[]])[];
  /** The steps of the build, the first one first. */
  readonly steps: readonly BuildStep[];
}

/**
 * Reads the config of an image to show it.
 * @returns undefined if it is not an image's, larger than {@link MAX_CONFIG_BYTES}, not JSON, or gone
 * @throws RegistryError
 */
export async function readConfig(
  registry: RegistryClient,
  repository: string,
  { digest, mediaType = '' }: Descriptor,
): Promise<ShownConfig | undefined> {
  if (!MEDIA_TYPES.has(mediaType)) return undefined;
  const stored = await unless(404, registry.textUpTo(MAX_CONFIG_BYTES, `/v2/${repository}/blobs/${digest}`, {}));
  return stored?.text === undefined ? undefined : parseConfig(stored.text);
}

/** Returns undefined if the text is not a JSON object. */
export function parseConfig(stored: string): ShownConfig | undefined {
  const { data } = config.safeParse(boundedJson(stored));
  if (data === undefined) return undefined;
  const { os, architecture, variant, author, config: settings } = data;
  const all: readonly (readonly [string, readonly (string | undefined)[]])[] = [
    ['Platform', [platformOf({ os, architecture, variant })]],
    ['Author', [author]],
    ['Entrypoint', [argumentsOf(settings?.Entrypoint)]],
    ['Command', [argumentsOf(settings?.Cmd)]],
    ['User', [settings?.User]],
    ['Working directory', [settings?.WorkingDir]],
    ['Environment', settings?.Env ?? []],
    ['Ports', Object.keys(settings?.ExposedPorts ?? {})],
    ['Volumes', Object.keys(settings?.Volumes ?? {})],
    ['Stop signal', [settings?.StopSignal]],
    ['Labels', Object.entries(settings?.Labels ?? {}).map(([name, value]) => `${name}=${String(value)}`)],
  ];
  return {
    created: timeOf(data.created),
    settings: all.flatMap(([name, values]) => {
      const given = values.filter((value) => value !== undefined && value !== '') as string[];
      return given.length === 0 ? [] : [[name, given] as const];
    }),
    steps: data.history.map(({ created, created_by: command, comment, empty_layer: isEmpty }) => ({
      created: timeOf(created),
      command: command ?? comment ?? '',
      hasLayer: isEmpty !== true,
    })),
  };
}

/** Returns arguments as JSON, which shows where each begins; '' for none. */
function argumentsOf(list: readonly string[] = []): string {
  return list.length === 0 ? '' : JSON.stringify(list);
}

function timeOf(written: string | undefined): string | null {
  const at = new Date(written ?? Number.NaN);
  return Number.isNaN(at.getTime()) ? null : at.toISOString();
}
