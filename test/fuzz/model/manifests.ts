/** Which documents are manifests that Berth accepts (docs/conformance.md, "Push: manifests"; image-spec). */
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
  /** Blobs that the repository has to have, each once. */
  readonly needed: ReadonlySet<string>;
  readonly mediaType: string;
  readonly subject: string | undefined;
}

/** @param contentType as the request says it; undefined for none */
export function judge(document: Json, contentType: string | undefined): Judgement {
  const faults = new Set<Expected>();
  const needed = new Set<string>();
  if (!isObject(document)) return { faults: faults.add(INVALID), needed, mediaType: '', subject: undefined };
  const declared = contentType === undefined ? undefined : bareType(contentType);
  const own = document['mediaType'];
  const named = typeof own === 'string' ? bareType(own) : undefined;
  if (contentType !== undefined && declared === undefined) faults.add(INVALID);
  if (own === undefined ? declared === undefined : named === undefined) faults.add(INVALID);
  if (declared !== undefined && named !== undefined && declared !== named) faults.add(INVALID);
  const mediaType = named ?? declared ?? '';
  const shape = shapeOf(mediaType);

  if (DOCKER_SCHEMA_1.includes(mediaType) || document['schemaVersion'] === 1) faults.add(INVALID);
  const { config, layers, manifests, subject } = document;
  if (manifests !== undefined && (layers !== undefined || config !== undefined)) faults.add(INVALID);
  const known = ['config', 'layers', 'manifests', 'subject', 'mediaType'];
  const isVariant = (key: string): boolean => known.some((one) => one !== key && one.toLowerCase() === key.toLowerCase());
  if (Object.keys(document).some(isVariant)) faults.add(INVALID);

  let descriptors = 0;
  const check = (
    value: Json | undefined,
    kind: 'one' | 'list',
    required: boolean,
    isNeeded: (type: string) => boolean,
    isGood = isDigest,
  ): void => {
    if (value === undefined || value === null) {
      if (required) faults.add(INVALID);
      return;
    }
    if (Array.isArray(value) !== (kind === 'list')) {
      faults.add(INVALID);
      return;
    }
    const items = Array.isArray(value) ? (value as readonly Json[]) : [value];
    descriptors += items.length;
    for (const item of items) {
      const fault = descriptorFault(item, isGood);
      if (fault !== undefined) faults.add(fault);
      else if (isObject(item) && isNeeded(textIn(item, 'mediaType'))) needed.add(textIn(item, 'digest'));
    }
  };
  if (shape === 'image') {
    check(config, 'one', true, () => true);
    check(layers, 'list', true, (type) => !isForeign(type));
  }
  if (shape === 'index') check(manifests, 'list', true, () => false);
  // Which of them another kind of document has is its own affair; a subject is listed, so it has to be one.
  if (shape === 'other') {
    const lists = [layers, manifests, document['blobs']].filter((list) => Array.isArray(list));
    descriptors += lists
      .flat()
      .filter((item) => isObject(item) && typeof item['digest'] === 'string' && isDigest(item['digest'])).length;
  }
  if (shape !== 'other' || !Array.isArray(subject)) check(subject, 'one', false, () => false, isAnyDigest);
  if (descriptors > MAX_DESCRIPTORS) faults.add(INVALID);
  if (artifactTypeOf(document, shape).length > MAX_TYPE) faults.add(INVALID);
  const { depth, values } = extentOf(document);
  if (depth > MAX_DEPTH || values > MAX_VALUES) faults.add(INVALID);
  return { faults, needed, mediaType, subject: subjectOf(subject) };
}

function shapeOf(mediaType: string): 'image' | 'index' | 'other' {
  if (mediaType === OCI_IMAGE || mediaType === DOCKER_IMAGE) return 'image';
  return mediaType === OCI_INDEX || mediaType === DOCKER_LIST ? 'index' : 'other';
}

/** Image-spec, "Descriptors": a digest and a size; the media type may be left out. */
function descriptorFault(value: Json, isGood: (digest: string) => boolean): Expected | undefined {
  if (!isObject(value)) return INVALID;
  const { digest, size, mediaType } = value;
  const isSize = typeof size === 'number' && Number.isInteger(size) && size >= 0 && size < 2 ** 53;
  if (typeof digest !== 'string' || !isSize) return INVALID;
  if (mediaType !== undefined && typeof mediaType !== 'string') return INVALID;
  return isGood(digest) ? undefined : BAD_DIGEST;
}

function textIn(object: { readonly [key: string]: Json }, key: string): string {
  const value = object[key];
  return typeof value === 'string' ? value : '';
}

function subjectOf(subject: Json | undefined): string | undefined {
  return subject !== undefined && isObject(subject) && typeof subject['digest'] === 'string' ? subject['digest'] : undefined;
}

/** Layers whose bytes may be anywhere else. */
function isForeign(mediaType: string): boolean {
  return (
    mediaType.startsWith('application/vnd.oci.image.layer.nondistributable.v1.') ||
    ['tar', 'tar.gzip'].some((end) => mediaType === `application/vnd.docker.image.rootfs.foreign.diff.${end}`)
  );
}

/** The type and subtype, each a restricted name (RFC 6838 §4.2); undefined where there is none. */
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

function artifactTypeOf(document: Record<string, Json>, shape: 'image' | 'index' | 'other'): string {
  const { artifactType, config } = document;
  if (typeof artifactType === 'string' && artifactType !== '') return artifactType;
  if (shape !== 'image' || config === undefined || !isObject(config)) return '';
  return typeof config['mediaType'] === 'string' ? config['mediaType'] : '';
}

/** Without recursion: documents may be deeper than a stack. */
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
