/**
 * The floor: a Worker of a few lines on the same simulators, reached in the same way. It shows what the machine can do
 * at best.
 */
import { readFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { freePort } from '../../src/local/simulators.ts';

export interface Floor {
  readonly port: number;
  stop(): Promise<void>;
}

/** The repository in the floor's databases, whose tag `latest` points at an index. */
export const REPOSITORY = 'alice/bench';
export const MANIFEST = Buffer.from(
  JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [] }),
);

export async function startFloor(stateDir: string): Promise<Floor> {
  const port = await freePort();
  const script = await readFile(new URL('floor.js', import.meta.url), 'utf8');
  const sha256 = await readFile(new URL('../../src/hashing/sha256.ts', import.meta.url), 'utf8');
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
          modules: [
            { type: 'ESModule', path: 'floor.js', contents: script },
            { type: 'ESModule', path: 'sha256.js', contents: stripTypeScriptTypes(sha256) },
          ],
          r2Buckets: { BLOBS: 'blobs', OTHER_BLOBS: 'other-blobs' },
          d1Databases: { DB: 'database', OTHER_DB: 'other-database' },
          unsafeDirectSockets: [{ host: '127.0.0.1', port }],
        },
      ],
    }),
  );
  await miniflare.ready;
  const statements = [
    ...(await schema()),
    `INSERT INTO repositories (name, created_at, listed) VALUES ('${REPOSITORY}', 0, 1)`,
    `INSERT INTO tags VALUES ('${REPOSITORY}', 'latest', 'x', 1, 'central', 1, '')`,
    `INSERT INTO manifests (repository, digest, media_type, artifact_type, subject, size, created_version,
      deleted_version, last_pull) VALUES ('${REPOSITORY}', 'x', 'a/b', '', NULL, 1, 1, 0, 0)`,
    `INSERT INTO manifest_contents VALUES ('${REPOSITORY}', 'x', 0, '${MANIFEST.toString()}')`,
  ];
  for (const binding of ['DB', 'OTHER_DB']) {
    const database = await miniflare.getD1Database(binding, 'floor');
    await database.batch(statements.map((statement) => database.prepare(statement)));
  }
  return { port, stop: () => miniflare.dispose() };
}

/**
 * Returns the statement that resolves a tag. It is imported by path at run time, because modules of the Worker have
 * workerd's types.
 */
export async function statementOfTag(): Promise<string> {
  const load = async (file: string): Promise<unknown> =>
    import(new URL(`../../src/stores/${file}`, import.meta.url).href);
  await load('manifests/manifest-rows.ts');
  const { allStatements } = (await load('database.ts')) as { allStatements: readonly { readonly text: string }[] };
  const statement = allStatements.find(({ text }) => text.includes('c.content') && text.includes('JOIN tags'));
  if (statement === undefined) throw new Error('no statement resolves a tag');
  return encodeURIComponent(JSON.stringify({ sql: statement.text, parameters: [REPOSITORY, 'latest'] }));
}

async function schema(): Promise<string[]> {
  process.env['WRANGLER_LOG'] ??= 'error';
  const { unstable_splitSqlQuery } = await import('wrangler');
  return unstable_splitSqlQuery(
    await readFile(new URL('../../src/stores/migrations/0001_berth.sql', import.meta.url), 'utf8'),
  );
}
