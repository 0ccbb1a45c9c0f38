/**
 * Schemas for the fields to which image-spec gives types: "Image Manifest", "Image Index" and "Content Descriptors".
 * Docker's schema 2 has the same fields. Clients written in Go decode these fields into types, so one wrong field makes
 * them fail on the whole manifest, or on every list of referrers that includes it. Unknown fields are allowed. As in
 * Go, null in an optional field means that it is absent.
 */
import { z } from 'zod';
import { DOCKER_MANIFEST, isSameMediaType, type MediaType, shapeOf } from './media-type.ts';

/**
 * Fields that clients decode as integers. NaN stands for a value that is not written as an integer
 * (`json-integers.ts`).
 */
export const INTEGERS: ReadonlySet<string> = new Set(['size', 'schemaVersion']);

const mustBe = (what: string) => ({
  error: ({ input }: { readonly input?: unknown }) => {
    if (input === undefined) return 'is missing';
    if (Number.isNaN(input)) return 'must be written only in digits: clients accept neither a fraction nor an exponent';
    return `must be ${what}`;
  },
});
const text = z.string(mustBe('a string'));
const optionalText = text.nullish();
const optionalTexts = z.array(text, mustBe('a list of strings')).nullish();

/** This check is written by hand because zod's record skips the key `__proto__`, which other readers see. */
const optionalAnnotations = z
  .custom<object>((value) => typeof value === 'object' && !Array.isArray(value), mustBe('an object of strings'))
  .check(({ value, issues }) => {
    const wrong = Object.entries(value ?? {}).find(([, annotation]) => typeof annotation !== 'string');
    if (wrong !== undefined)
      issues.push({ code: 'custom', path: [wrong[0]], message: 'must be a string', input: value });
  })
  .optional();

const platform = z.object(
  {
    architecture: optionalText,
    os: optionalText,
    'os.version': optionalText,
    'os.features': optionalTexts,
    variant: optionalText,
    features: optionalTexts,
  },
  mustBe('an object'),
);

const size = z.int(mustBe(`a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`));
const descriptor = z.object(
  {
    digest: text,
    size: size.nonnegative(mustBe(`a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`)),
    mediaType: text.min(1, 'must not be empty'),
    urls: optionalTexts,
    annotations: optionalAnnotations,
    data: z.base64(mustBe('base64')).nullish(),
    artifactType: optionalText,
    platform: platform.nullish(),
  },
  mustBe('a descriptor'),
);
const descriptors = z.array(descriptor, mustBe('a list of descriptors'));

const common = { artifactType: optionalText, subject: descriptor.nullish(), annotations: optionalAnnotations };
const schemaVersion = z.literal(2, mustBe('the number 2')).optional();

const image = z.object({ schemaVersion, ...common, config: descriptor, layers: descriptors.nullable() });

/** `artifact` is a document of any other media type that has a subject, so lists of referrers include it. */
const SCHEMAS = {
  image,
  // Docker before 1.11.1 repeated the Content-Type of the registry's answer in the config's media type, or left it out
  // (https://github.com/moby/moby/issues/28894). Clients still pull and copy such images.
  'docker image': image.extend({ config: descriptor.extend({ mediaType: optionalText }) }),
  index: z.object({ schemaVersion, ...common, manifests: descriptors.nullable() }),
  artifact: z.object({
    schemaVersion: z.int(mustBe('a whole number')).nullish(),
    ...common,
    config: descriptor.nullish(),
    layers: descriptors.nullish(),
    manifests: descriptors.nullish(),
    blobs: descriptors.nullish(),
  }),
};

type TypedShape = keyof typeof SCHEMAS;

/** A fault in a field: its JSON path, such as `layers[0].annotations.a`, and what the field should be. */
export interface Fault {
  readonly path: string;
  readonly problem: string;
}

/** Returns the first fault of a document of this media type, or undefined if it has none. */
export function faultOf(mediaType: MediaType, document: Readonly<Record<string, unknown>>): Fault | undefined {
  const shape = typedShapeOf(mediaType);
  const [issue] = SCHEMAS[shape].safeParse(document).error?.issues ?? [];
  if (issue !== undefined) return { path: pathOf(issue.path), problem: issue.message };
  return ambiguousName(document, Object.keys(SCHEMAS[shape].shape), '') ?? firstAmbiguousInDescriptors(shape, document);
}

function typedShapeOf(mediaType: MediaType): TypedShape {
  if (isSameMediaType(mediaType, DOCKER_MANIFEST)) return 'docker image';
  const shape = shapeOf(mediaType);
  return shape === 'other' ? 'artifact' : shape;
}

const DESCRIPTOR_NAMES = Object.keys(descriptor.shape);
const PLATFORM_NAMES = Object.keys(platform.shape);

function firstAmbiguousInDescriptors(
  shape: TypedShape,
  document: Readonly<Record<string, unknown>>,
): Fault | undefined {
  for (const field of ['config', 'subject', 'layers', 'manifests', 'blobs'].filter(
    (name) => name in SCHEMAS[shape].shape,
  )) {
    const value = document[field];
    for (const [i, item] of (Array.isArray(value) ? value : [value]).entries()) {
      if (!isObject(item)) continue;
      const path = Array.isArray(value) ? `${field}[${i}]` : field;
      const own = isObject(item['platform']) ? item['platform'] : {};
      const fault =
        ambiguousName(item, DESCRIPTOR_NAMES, path) ?? ambiguousName(own, PLATFORM_NAMES, `${path}.platform`);
      if (fault !== undefined) return fault;
    }
  }
  return undefined;
}

/**
 * Finds a key that differs from one of `names` only in case. Go's decoder treats it as the same field; other decoders
 * do not.
 */
export function ambiguousName(object: object, names: readonly string[], path: string): Fault | undefined {
  const variant = Object.keys(object).find(
    (key) => !names.includes(key) && names.some((name) => isSameInAnyCase(name, key)),
  );
  if (variant === undefined) return undefined;
  return {
    path: pathOf(path === '' ? [variant] : [path, variant]),
    problem: 'is ambiguous: some readers ignore the case of names',
  };
}

function isSameInAnyCase(a: string, b: string): boolean {
  return a.length === b.length && a.toLowerCase() === b.toLowerCase();
}

function pathOf(keys: readonly PropertyKey[]): string {
  return keys.reduce<string>(
    (path, key) => (typeof key === 'number' ? `${path}[${key}]` : path === '' ? String(key) : `${path}.${String(key)}`),
    '',
  );
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
