// The floor: each route makes one call to a binding, or as many as the work needs at least, without a framework,
// authentication or parsing.
const PART_BYTES = 8 * 1024 * 1024;

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
      case '/copy': {
        const { body } = await env.BLOBS.get(key);
        await env.OTHER_BLOBS.put(key, body, { sha256: searchParams.get('sha256') });
        return new Response(null, { status: 201 });
      }
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
