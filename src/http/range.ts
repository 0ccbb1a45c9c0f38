/**
 * Parses byte ranges: of downloads (RFC 9110 §14) and of upload chunks (distribution-spec, "Pushing a blob in chunks").
 */
import { OciError } from '../oci/errors.ts';
import type { ByteRange } from '../registry/registry.ts';

/**
 * Parses a Range header for content of `size` bytes.
 * @returns the range; undefined for the whole content: without a header, with another unit, or with several ranges,
 *   which a server may ignore.
 * @throws OciError RANGE_UNSATISFIABLE, even for a range that ends before it starts
 */
export function parseRange(header: string | undefined, size: number): ByteRange | undefined {
  const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/i.exec(header?.replaceAll(' ', '') ?? '') ?? [];
  if (first === '' && last === '') return undefined;
  const offset = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1);
  if (offset >= end) {
    throw new OciError('RANGE_UNSATISFIABLE', { detail: { size }, headers: { 'Content-Range': `bytes */${size}` } });
  }
  return { offset, length: end - offset };
}

/**
 * Returns where a chunk starts, from its Content-Range `<start>-<end>`, both inclusive.
 * @param length bytes of the body, if known
 * @returns undefined without the header: the chunk is then appended
 * @throws OciError CONTENT_RANGE_INVALID
 */
export function parseChunkStart(header: string | undefined, length: number | undefined): number | undefined {
  const range = parseContentRange(header, length);
  if (range !== undefined && length !== undefined && length > 0 && range.length !== length) {
    throw invalidContentRange(header, length);
  }
  return range?.offset;
}

/** Returns how many bytes a chunk's Content-Range announces. @throws OciError CONTENT_RANGE_INVALID */
export function announcedLength(header: string | undefined): number | undefined {
  return parseContentRange(header)?.length;
}

function parseContentRange(header: string | undefined, length?: number): ByteRange | undefined {
  if (header === undefined) return undefined;
  const [, start, end] = /^(?:bytes[ =])?(\d+)-(\d+)(?:\/(?:\d+|\*))?$/.exec(header.trim()) ?? [];
  if (start === undefined || end === undefined) throw invalidContentRange(header, length);
  // BigInt keeps any number exact. A chunk that starts far beyond the upload's end must get CHUNK_OUT_OF_ORDER, which
  // tells the client where to continue.
  const chunk = BigInt(end) - BigInt(start) + 1n;
  if (chunk < 0n) throw invalidContentRange(header, length);
  return { offset: safe(BigInt(start)), length: safe(chunk) };
}

function safe(value: bigint): number {
  return value > Number.MAX_SAFE_INTEGER ? Number.MAX_SAFE_INTEGER : Number(value);
}

function invalidContentRange(header: string | undefined, contentLength?: number): OciError {
  const detail = { contentRange: header?.slice(0, 100), ...(contentLength === undefined ? {} : { contentLength }) };
  return new OciError('CONTENT_RANGE_INVALID', { detail });
}
