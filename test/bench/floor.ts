/** A Worker of a few lines on the same simulators, reached the same way: what the machine can do at all. */
import { readFile } from 'node:fs/promises';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { freePort } from '../../src/local/simulators.ts';

export interface Floor {
  readonly port: number;
  stop(): Promise<void>;
}

/** @param schema statements that fill its database */
export async function startFloor(stateDir: string, schema: readonly string[]): Promise<Floor> {
  const port = await freePort();
  const script = await readFile(new URL('floor.js', import.meta.url), 'utf8');
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      host: '127.0.0.1',
      port: 0,
      cf: false,
      resourcePersistencePath: stateDir,
      workers: [
        {
          name: 'floor',
          compatibilityDate: '2026-11-01',
          modules: [{ type: 'ESModule', path: 'floor.js', contents: script }],
          r2Buckets: { BLOBS: 'blobs' },
          d1Databases: { DB: 'database' },
          unsafeDirectSockets: [{ host: '127.0.0.1', port }],
        },
      ],
    }),
  );
  await miniflare.ready;
  const database = await miniflare.getD1Database('DB', 'floor');
  await database.batch(schema.map((statement) => database.prepare(statement)));
  return { port, stop: () => miniflare.dispose() };
}
