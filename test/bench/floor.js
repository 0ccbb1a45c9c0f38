// The floor: each route is one call to a binding, without framework, authentication or parsing.
export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    switch (url.pathname) {
      case '/put':
        await env.BLOBS.put(url.searchParams.get('key'), request.body);
        return new Response(null, { status: 201 });
      case '/put-checked':
        await env.BLOBS.put(url.searchParams.get('key'), request.body, { sha256: url.searchParams.get('sha256') });
        return new Response(null, { status: 201 });
      case '/get':
        return new Response((await env.BLOBS.get(url.searchParams.get('key'))).body);
      case '/query': {
        const { sql, parameters } = JSON.parse(url.searchParams.get('statement'));
        const { results } = await env.DB.prepare(sql)
          .bind(...parameters)
          .all();
        return new Response(results[0].content);
      }
      default:
        return new Response(null, { status: 404 });
    }
  },
};
