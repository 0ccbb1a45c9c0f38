/** Encodes generated manifests. */
import { BLOBS, type Growth, type ManifestCase } from '../generate/manifests.ts';
import { isObject, type Json } from '../model/manifests.ts';

type Document = Record<string, Json>;

/** Replaces the placeholders by the digests of real blobs. */
export function withBlobs(document: Document, blobs: ReadonlyMap<string, string>): Document {
  const names = new Set<string>(BLOBS);
  const replace = (value: Json): Json => {
    if (typeof value === 'string') return names.has(value) ? (blobs.get(value) ?? value) : value;
    if (typeof value !== 'object' || value === null) return value;
    if (!isObject(value)) return value.map(replace);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, replace(item)]));
  };
  return replace(document) as Document;
}

/** Adds a field that is deep, has many values, or is long, or adds descriptors to the document's list. */
export function grown(document: Document, growth: Growth): Document {
  if (growth === 'none') return document;
  if ('depth' in growth) return { ...document, grown: nested(growth.depth - 1) };
  if ('values' in growth) return { ...document, grown: Array.from({ length: growth.values }, () => 0) };
  if ('bytes' in growth) {
    const length = new TextEncoder().encode(JSON.stringify({ ...document, grown: '' })).byteLength;
    return { ...document, grown: 'x'.repeat(Math.max(0, growth.bytes - length)) };
  }
  const field = ['layers', 'manifests', 'blobs'].find(
    (name) => Array.isArray(document[name]) && (document[name] as Json[]).length > 0,
  );
  if (field === undefined) return document;
  const [first = null] = document[field] as Json[];
  const others = (document['config'] === undefined ? 0 : 1) + (document['subject'] === undefined ? 0 : 1);
  return { ...document, [field]: Array.from({ length: growth.descriptors - others }, () => first) };
}

/**
 * Returns lists nested this deep. Their text is built by {@link textOf}, because JSON.stringify would overflow the
 * stack.
 */
function nested(depth: number): Json {
  let value: Json = [];
  for (let i = 1; i < depth; i++) value = [value];
  return value;
}

export function bytesOfManifest(document: Document, { encoding, growth }: ManifestCase): Uint8Array<ArrayBuffer> {
  const text = textOf(document, growth);
  const utf8 = (content: string): Uint8Array<ArrayBuffer> => Uint8Array.from(new TextEncoder().encode(content));
  switch (encoding) {
    case 'plain':
      return utf8(text);
    case 'spaced':
      return utf8(` \n\t${text}\r\n `);
    case 'marked':
      return utf8(`\uFEFF${text}`);
    case 'cut':
      return utf8(text.slice(0, -1));
    case 'trailing':
      return utf8(`${text}{}`);
    case 'not UTF-8':
      return Uint8Array.from([...utf8(text.slice(0, -1)), ...utf8(',"x":"'), 0xc3, 0x28, ...utf8('"}')]);
    case 'as list':
      return utf8(`[${text}]`);
    case 'as text':
      return utf8(JSON.stringify(text));
    case 'empty':
      return new Uint8Array(0);
    case 'repeated':
      // If two fields have one name, the last counts; the stored bytes keep both.
      return utf8(`{"schemaVersion":2,"repeated":1,"repeated":[2],${text.slice(1)}`.replace(',}', '}'));
  }
}

/** Serializes a document. A deep one is written by hand, because `JSON.stringify` recurses. */
function textOf(document: Document, growth: Growth): string {
  if (typeof growth === 'string' || !('depth' in growth) || growth.depth < 500) return JSON.stringify(document);
  const { grown: _, ...rest } = document;
  const lists = '['.repeat(growth.depth - 1) + ']'.repeat(growth.depth - 1);
  return `{"grown":${lists},${JSON.stringify(rest).slice(1)}`;
}
