// The floor: each route makes one call to a binding, or as many as the work needs at least, without a framework,
// authentication or parsing.
import { Sha256 } from './sha256.js';

const PART_BYTES = 8 * 1024 * 1024;
const READ_BYTES = 1024 * 1024;

/** The hash of the multipart upload that is under way. */
let hash;
/** The parts of each multipart upload, by its id. */
const partsOf = new Map();

export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    const key = searchParams.get('key');
    switch (pathname) {
      case '/put':
        await env.BLOBS.put(key, request.body);
        return new Response(null, { status: 201 });
      case '/put-checked':
        await env.BLOBS.put(key, request.body, { sha256: searchParams.get('sha256') });
        return new Response(null, { status: 201 });
      case '/put-parts':
        await putParts(env.BLOBS, key, request.body);
        return new Response(null, { status: 201 });
      case '/put-parts-at-once':
        await putPartsAtOnce(env.BLOBS, key, request.body, Number(searchParams.get('delay')));
        return new Response(null, { status: 201 });
      case '/multipart': {
        const { uploadId } = await env.BLOBS.createMultipartUpload(key);
        partsOf.set(uploadId, []);
        hash = new Sha256();
        return new Response(uploadId);
      }
      case '/part': {
        const upload = env.BLOBS.resumeMultipartUpload(key, searchParams.get('upload'));
        const hashing = searchParams.get('hash') === '1' ? hash : undefined;
        const length = Number(request.headers.get('Content-Length'));
        const part = await putPart(upload, Number(searchParams.get('number')), request.body, length, hashing);
        partsOf.get(upload.uploadId).push(part);
        return new Response(null, { status: 201 });
      }
      case '/complete': {
        const upload = env.BLOBS.resumeMultipartUpload(key, searchParams.get('upload'));
        await upload.complete(partsOf.get(upload.uploadId));
        hash.digest();
        return new Response(null, { status: 201 });
      }
      case '/copy': {
        const { body } = await env.BLOBS.get(key);
        await env.OTHER_BLOBS.put(key, body, { sha256: searchParams.get('sha256') });
        return new Response(null, { status: 201 });
      }
      case '/copy-parts':
        await copyParts(env.BLOBS, env.OTHER_BLOBS, key, Number(searchParams.get('milliseconds')));
        return new Response(null, { status: 201 });
      case '/get':
        return new Response((await env.BLOBS.get(key)).body);
      case '/query': {
        const { results } = await query(env.DB, searchParams.get('statement'));
        return new Response(results[0].content);
      }
      case '/query-two': {
        const statement = searchParams.get('statement');
        const [{ results }] = await Promise.all([query(env.DB, statement), query(env.OTHER_DB, statement)]);
        return new Response(results[0].content);
      }
      default:
        return new Response(null, { status: 404 });
    }
  },
};

function query(database, statement) {
  const { sql, parameters } = JSON.parse(statement);
  return database
    .prepare(sql)
    .bind(...parameters)
    .all();
}

/** Stores a body of unknown length in parts, and reads each part into the same buffer. */
async function putParts(bucket, key, body) {
  const upload = await bucket.createMultipartUpload(key);
  const reader = body.getReader({ mode: 'byob' });
  const parts = [];
  let buffer = new ArrayBuffer(PART_BYTES);
  for (;;) {
    const { value, done } = await reader.readAtLeast(PART_BYTES, new Uint8Array(buffer));
    if (value !== undefined && value.byteLength > 0) parts.push(await upload.uploadPart(parts.length + 1, value));
    if (done) break;
    buffer = value.buffer;
  }
  await upload.complete(parts);
}

const PARTS_AT_ONCE = 3;

/**
 * Copies an object with one read, in parts of which three are under way at once. Each call takes `milliseconds` more.
 */
async function copyParts(from, to, key, milliseconds) {
  const later = () => new Promise((done) => setTimeout(done, milliseconds));
  await later();
  const { body, size } = await from.get(key);
  await later();
  const upload = await to.createMultipartUpload(key);
  const underWay = new Set();
  const parts = [];
  for (let offset = 0, number = 1; offset < size; offset += PART_BYTES, number++) {
    while (underWay.size >= PARTS_AT_ONCE) await Promise.race(underWay);
    const { readable, writable } = new FixedLengthStream(Math.min(PART_BYTES, size - offset));
    const part = later()
      .then(() => upload.uploadPart(number, readable))
      .then((answer) => (parts[number - 1] = answer))
      .finally(() => underWay.delete(part));
    underWay.add(part);
    await passOn(body, writable, Math.min(PART_BYTES, size - offset));
  }
  await Promise.all(underWay);
  await later();
  await upload.complete(parts);
}

/** Passes so many bytes of a stream on. */
async function passOn(body, writable, bytes) {
  const reader = body.getReader({ mode: 'byob' });
  const writer = writable.getWriter();
  let buffer = new ArrayBuffer(512 * 1024);
  for (let left = bytes; left > 0;) {
    const wanted = Math.min(buffer.byteLength, left);
    const { value } = await reader.readAtLeast(wanted, new Uint8Array(buffer, 0, wanted));
    await writer.write(value);
    left -= value.byteLength;
    buffer = value.buffer;
  }
  reader.releaseLock();
  await writer.close();
}

/** Streams a part, and hashes it on the way if there is a hash. */
async function putPart(upload, number, body, length, hashing) {
  if (hashing === undefined) return upload.uploadPart(number, body);
  const fixed = new FixedLengthStream(length);
  const uploading = upload.uploadPart(number, fixed.readable);
  const [reader, writer] = [body.getReader({ mode: 'byob' }), fixed.writable.getWriter()];
  let buffer = new ArrayBuffer(READ_BYTES);
  for (let left = length; left > 0;) {
    const { value } = await reader.readAtLeast(Math.min(left, READ_BYTES), new Uint8Array(buffer));
    const written = writer.write(value);
    hashing.update(value);
    await written;
    left -= value.byteLength;
    buffer = value.buffer;
  }
  await writer.close();
  return uploading;
}

/**
 * Stores a body of unknown length in parts of 5 MiB, three of which are under way at once, with a delay for each call.
 */
async function putPartsAtOnce(bucket, key, body, delay) {
  const wait = () => new Promise((done) => setTimeout(done, delay));
  await wait();
  const upload = await bucket.createMultipartUpload(key);
  const reader = body.getReader({ mode: 'byob' });
  const [parts, underWay] = [[], new Set()];
  const size = 5 * 1024 * 1024;
  for (let number = 1; ; number++) {
    const { value, done } = await reader.readAtLeast(size, new Uint8Array(size));
    if (value !== undefined && value.byteLength > 0) {
      const uploading = wait()
        .then(() => upload.uploadPart(number, value))
        .then((part) => void parts.push(part))
        .finally(() => underWay.delete(uploading));
      underWay.add(uploading);
      if (underWay.size >= PARTS_AT_ONCE) await Promise.race(underWay);
    }
    if (done) break;
  }
  await Promise.all(underWay);
  await wait();
  await upload.complete(parts.toSorted((a, b) => a.partNumber - b.partNumber));
}
