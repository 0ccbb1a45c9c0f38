/** Wraps Berth's Worker with two paths that write to each binding and read it back. */
import worker, { ReplicationQueue as Queue } from '../../src/index.ts';

const STORES = ['CENTRAL', 'NODE1', 'NODE2'];

export class ReplicationQueue extends Queue {
  async write(text) {
    await this.ctx.storage.put('written', text);
  }

  async read() {
    return this.ctx.storage.get('written');
  }
}

export default {
  ...worker,
  async fetch(request, env, ctx) {
    switch (new URL(request.url).pathname) {
      case '/write':
        await Promise.all(STORES.map((store) => write(env, store)));
        return new Response(null, { status: 204 });
      case '/read':
        return Response.json(
          Object.fromEntries(await Promise.all(STORES.map(async (store) => [store, await read(env, store)]))),
        );
      default:
        return worker.fetch(request, env, ctx);
    }
  },
};

async function write(env, store) {
  await env[`DB_${store}`].batch([
    env[`DB_${store}`].prepare('CREATE TABLE written (text TEXT)'),
    env[`DB_${store}`].prepare('INSERT INTO written VALUES (?1)').bind(store),
  ]);
  await env[`BLOBS_${store}`].put('written', store);
  await queueOf(env, store).write(store);
}

async function read(env, store) {
  const rows = await env[`DB_${store}`].prepare('SELECT text FROM written').all();
  const object = await env[`BLOBS_${store}`].get('written');
  return {
    database: rows.results.map(({ text }) => text),
    bucket: await object?.text(),
    queue: await queueOf(env, store).read(),
  };
}

function queueOf(env, store) {
  return env.REPLICATION_QUEUE.get(env.REPLICATION_QUEUE.idFromName(store.toLowerCase()));
}
