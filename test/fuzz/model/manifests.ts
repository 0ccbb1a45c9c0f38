/** The documents that Berth accepts as manifests (docs/conformance.md, "Push: manifests"; image-spec). */
import type { Expected } from '../support/answers.ts';
import { isAnyDigest, isDigest } from './names.ts';
import { every, isDigit } from './text.ts';

export const OCI_IMAGE = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const DOCKER_IMAGE = 'application/vnd.docker.distribution.manifest.v2+json';
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const DOCKER_SCHEMA_1 = [
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
];

const MAX_DESCRIPTORS = 4096;
const MAX_DEPTH = 64;
const MAX_VALUES = 200_000;
const MAX_TYPE = 255;

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

const INVALID = '400 MANIFEST_INVALID';
const BAD_DIGEST = '400 DIGEST_INVALID';

export interface Judgement {
  readonly faults: ReadonlySet<Expected>;
  /** Blobs that the repository must have, each once. */
  readonly needed: ReadonlySet<string>;
  /** The size in bytes that the document states for each digest. */
  readonly sizes: ReadonlyMap<string, number>;
  readonly mediaType: string;
  readonly subject: string | undefined;
}

/** @param contentType the request's Content-Type; undefined for none */
export function judge(document: Json, contentType: string | undefined): Judgement {
  const faults = new Set<Expected>();
  const needed = new Set<string>();
  const sizes = new Map<string, number>();
  if (!isObject(document)) return { faults: faults.add(INVALID), needed, sizes, mediaType: '', subject: undefined };
  const declared = contentType === undefined ? undefined : bareType(contentType);
  const own = document['mediaType'];
  const named = typeof own === 'string' ? bareType(own) : undefined;
  if (contentType !== undefined && declared === undefined) faults.add(INVALID);
  if (own === undefined ? declared === undefined : named === undefined) faults.add(INVALID);
  if (declared !== undefined && named !== undefined && declared.toLowerCase() !== named.toLowerCase())
    faults.add(INVALID);
  const mediaType = named ?? declared ?? '';
  const shape = shapeOf(mediaType);

  if (isNoManifest(mediaType.toLowerCase())) faults.add(INVALID);
  if (DOCKER_SCHEMA_1.includes(mediaType.toLowerCase()) || document['schemaVersion'] === 1) faults.add(INVALID);
  const { config, layers, manifests, subject } = document;
  if (manifests !== undefined && (layers !== undefined || config !== undefined)) faults.add(INVALID);
  const known = ['config', 'layers', 'manifests', 'subject', 'mediaType'];
  const isVariant = (key: string): boolean =>
    known.some((one) => one !== key && one.toLowerCase() === key.toLowerCase());
  if (Object.keys(document).some(isVariant)) faults.add(INVALID);

  const isTyped = shape !== 'other' || (subject !== undefined && subject !== null);
  if (isTyped && !isWellTyped(document, shape)) faults.add(INVALID);
  let descriptors = 0;
  const noteSize = (item: Json): void => {
    if (!isObject(item)) return;
    const { digest, size } = item;
    if (typeof digest !== 'string' || !isDigest(digest) || !isSize(size)) return;
    if ((sizes.get(digest) ?? size) !== size) faults.add(INVALID);
    sizes.set(digest, size);
  };
  const check = (
    value: Json | undefined,
    kind: 'one' | 'list',
    isNeeded: (type: string) => boolean,
    { isGood = isDigest, mayLackType = false } = {},
  ): void => {
    if (value === undefined || value === null) return;
    if (Array.isArray(value) !== (kind === 'list')) {
      faults.add(INVALID);
      return;
    }
    const items = Array.isArray(value) ? (value as readonly Json[]) : [value];
    descriptors += items.length;
    for (const item of items) {
      const fault = descriptorFault(item, isGood, mayLackType);
      if (fault !== undefined) faults.add(fault);
      else if (isObject(item) && isNeeded(textIn(item, 'mediaType'))) needed.add(textIn(item, 'digest'));
      noteSize(item);
    }
  };
  // Go writes null for an empty list. A null config is invalid.
  if (shape === 'image' && (config === undefined || config === null || layers === undefined)) faults.add(INVALID);
  if (shape === 'index' && manifests === undefined) faults.add(INVALID);
  if (isTyped) {
    const mayLackType = mediaType.toLowerCase() === DOCKER_IMAGE;
    check(config, 'one', () => shape === 'image', { mayLackType });
    check(layers, 'list', (type) => shape === 'image' && !isForeign(type));
    check(manifests, 'list', () => false);
    if (shape === 'other') check(document['blobs'], 'list', () => false);
    check(subject, 'one', () => false, { isGood: isAnyDigest });
  } else {
    // Other kinds of documents may define these fields differently.
    for (const item of [config, layers, manifests, document['blobs']].flatMap((value, i) => {
      if (i === 0) return value === undefined || Array.isArray(value) ? [] : [value];
      return Array.isArray(value) ? (value as Json[]) : [];
    })) {
      if (isObject(item) && typeof item['digest'] === 'string' && isDigest(item['digest'])) descriptors++;
      noteSize(item);
    }
  }
  if (descriptors > MAX_DESCRIPTORS) faults.add(INVALID);
  if (artifactTypeOf(document, shape).length > MAX_TYPE) faults.add(INVALID);
  const { depth, values } = extentOf(document);
  if (depth > MAX_DEPTH || values > MAX_VALUES) faults.add(INVALID);
  return { faults, needed, sizes, mediaType, subject: subjectOf(subject) };
}

function shapeOf(mediaType: string): Shape {
  const type = mediaType.toLowerCase();
  if (type === OCI_IMAGE || type === DOCKER_IMAGE) return 'image';
  return type === OCI_INDEX || type === DOCKER_LIST ? 'index' : 'other';
}

type Shape = 'image' | 'index' | 'other';

/** Returns whether a type is one that clients send for a body that they know nothing about. */
function isNoManifest(type: string): boolean {
  const [first = '', second = ''] = type.split('/');
  return (
    first === 'text' ||
    first === 'multipart' ||
    (first === 'application' && ['x-www-form-urlencoded', 'octet-stream'].includes(second))
  );
}

const DOCUMENT_NAMES = ['schemaVersion', 'artifactType', 'subject', 'annotations'];
const LISTS = { image: ['config', 'layers'], index: ['manifests'], other: ['config', 'layers', 'manifests', 'blobs'] };
const DESCRIPTOR_NAMES = ['mediaType', 'digest', 'size', 'urls', 'annotations', 'data', 'platform', 'artifactType'];
const PLATFORM_NAMES = ['architecture', 'os', 'os.version', 'os.features', 'variant', 'features'];

/** Returns whether the fields that image-spec defines have its types and its exact names. */
function isWellTyped(document: { readonly [key: string]: Json }, shape: Shape): boolean {
  const { schemaVersion: version } = document;
  if (shape === 'other' ? !isAbsent(version) && typeof version !== 'number' : version !== undefined && version !== 2)
    return false;
  return (
    hasNames(document, [...DOCUMENT_NAMES, ...LISTS[shape]]) &&
    isTextOrAbsent(document['artifactType']) &&
    hasTexts(document['annotations'])
  );
}

function hasNames(object: { readonly [key: string]: Json }, names: readonly string[]): boolean {
  return Object.keys(object).every(
    (key) => names.includes(key) || !names.some((name) => name.toLowerCase() === key.toLowerCase()),
  );
}

function isAbsent(value: Json | undefined): boolean {
  return value === undefined || value === null;
}

function isTextOrAbsent(value: Json | undefined): boolean {
  return isAbsent(value) || typeof value === 'string';
}

function isListOfTexts(value: Json | undefined): boolean {
  return isAbsent(value) || (Array.isArray(value) && value.every((item) => typeof item === 'string'));
}

/** Returns whether the value is absent or an object of strings. */
function hasTexts(value: Json | undefined): boolean {
  if (value === undefined || value === null) return true;
  return isObject(value) && Object.values<Json>(value).every((item) => typeof item === 'string');
}

function isSize(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 53;
}

/** Image-spec, "Descriptors": a digest, a size and a media type are required. */
function descriptorFault(value: Json, isGood: (digest: string) => boolean, mayLackType: boolean): Expected | undefined {
  if (!isObject(value)) return INVALID;
  const { digest, size, mediaType, data, platform } = value;
  if (typeof digest !== 'string' || !isSize(size)) return INVALID;
  if (mayLackType ? !isTextOrAbsent(mediaType) : typeof mediaType !== 'string' || mediaType === '') return INVALID;
  if (!isListOfTexts(value['urls']) || !hasTexts(value['annotations']) || !isTextOrAbsent(value['artifactType']))
    return INVALID;
  if (!isAbsent(data) && !(typeof data === 'string' && isBase64(data))) return INVALID;
  if (!hasNames(value, DESCRIPTOR_NAMES) || (!isAbsent(platform) && !isPlatform(platform))) return INVALID;
  return isGood(digest) ? undefined : BAD_DIGEST;
}

function isPlatform(value: Json | undefined): boolean {
  if (value === undefined || !isObject(value) || !hasNames(value, PLATFORM_NAMES)) return false;
  const texts = ['architecture', 'os', 'os.version', 'variant'].every((name) => isTextOrAbsent(value[name]));
  return texts && isListOfTexts(value['os.features']) && isListOfTexts(value['features']);
}

function isBase64(text: string): boolean {
  const digits = text.endsWith('==') ? text.slice(0, -2) : text.endsWith('=') ? text.slice(0, -1) : text;
  return (
    text.length % 4 === 0 &&
    every(digits, (character) => isAlphanumeric(character) || character === '+' || character === '/')
  );
}

function textIn(object: { readonly [key: string]: Json }, key: string): string {
  const value = object[key];
  return typeof value === 'string' ? value : '';
}

function subjectOf(subject: Json | undefined): string | undefined {
  return subject !== undefined && isObject(subject) && typeof subject['digest'] === 'string'
    ? subject['digest']
    : undefined;
}

/** Returns whether the layer's bytes may be stored elsewhere. */
function isForeign(mediaType: string): boolean {
  const type = mediaType.toLowerCase();
  return (
    type.startsWith('application/vnd.oci.image.layer.nondistributable.v1.') ||
    ['tar', 'tar.gzip'].some((end) => type === `application/vnd.docker.image.rootfs.foreign.diff.${end}`)
  );
}

/** Returns the type and subtype, each a restricted name (RFC 6838 §4.2); undefined if it is invalid. */
function bareType(text: string): string | undefined {
  const bare = (text.split(';')[0] ?? '').trim();
  const names = bare.split('/');
  const isName = (name: string): boolean =>
    name.length >= 1 &&
    name.length <= 127 &&
    isAlphanumeric(name[0] ?? '') &&
    every(name, (character) => isAlphanumeric(character) || '!#$&-^_.+'.includes(character));
  return names.length === 2 && names.every(isName) ? bare : undefined;
}

function isAlphanumeric(character: string): boolean {
  return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') || isDigit(character);
}

function artifactTypeOf(document: Record<string, Json>, shape: Shape): string {
  const { artifactType, config } = document;
  if (typeof artifactType === 'string' && artifactType !== '') return artifactType;
  if (shape !== 'image' || config === undefined || !isObject(config)) return '';
  return typeof config['mediaType'] === 'string' ? config['mediaType'] : '';
}

/** Measures a document without recursion, because it may be deeper than a stack. */
function extentOf(document: Json): { depth: number; values: number } {
  const left: { value: Json; depth: number }[] = [{ value: document, depth: 1 }];
  let [deepest, values] = [0, 0];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const { value, depth } = next;
    values++;
    if (typeof value !== 'object' || value === null) continue;
    deepest = Math.max(deepest, depth);
    for (const item of Object.values<Json>(value)) left.push({ value: item, depth: depth + 1 });
  }
  return { depth: deepest, values };
}

export function isObject(value: Json): value is { readonly [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
