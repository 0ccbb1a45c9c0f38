/**
 * `npm run bench`: Berth against a floor Worker, in one run, on the embedded simulators. Ratios are what counts: the
 * simulators' absolute figures say nothing of Cloudflare's. Operations are counted by test/stores/operation-counts.test.ts.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts, startLocalRegistry } from '../../src/local/simulators.ts';
import { startFloor } from './floor.ts';
import { call, closeConnections } from './http.ts';
import { type Comparison, compare, type Measured, timed } from './measure.ts';

const ROUNDS = 7;
const LAYER_BYTES = 50 * 1024 * 1024;
const CONNECTIONS = 16;
const REQUESTS = 2000;
const REPOSITORY = 'alice/bench';

const folder = await mkdtemp(join(tmpdir(), 'berth-bench-'));
const [port = 0] = await freePorts();
const registry = await startLocalRegistry({ port, stateDir: join(folder, 'berth') });
const manifest = Buffer.from(
  JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [] }),
);
const floor = await startFloor(join(folder, 'floor'), [
  ...(await schema()),
  `INSERT INTO repositories VALUES ('${REPOSITORY}', 0, 1)`,
  `INSERT INTO tags VALUES ('${REPOSITORY}', 'latest', 'x', 1, 'central', 1)`,
  `INSERT INTO manifests VALUES ('${REPOSITORY}', 'x', 'a/b', '', NULL, 1, 1, 0, 0)`,
  `INSERT INTO manifest_contents VALUES ('${REPOSITORY}', 'x', 0, '${manifest.toString()}')`,
]);

try {
  const results: Measured[] = [];
  for (const comparison of await comparisons()) {
    const measured = await compare(comparison, ROUNDS);
    results.push(measured);
    console.log(lineOf(measured));
  }
  const report = {
    machine: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
    node: process.version,
    rounds: ROUNDS,
    results,
  };
  await mkdir('results', { recursive: true });
  await writeFile('results/bench.json', `${JSON.stringify(report, null, 2)}\n`);
  console.log(`\n${report.machine}, medians of ${ROUNDS}; results/bench.json has all of it.`);
  if (results.some(({ reached }) => !reached)) process.exitCode = 1;
} finally {
  closeConnections();
  await registry.stop();
  await floor.stop();
  await rm(folder, { recursive: true, force: true });
}

async function comparisons(): Promise<Comparison[]> {
  const layer = randomBytes(LAYER_BYTES);
  const login = { Authorization: `Basic ${Buffer.from('alice:alice-dev').toString('base64')}` };
  const asked = `/token?scope=repository:${REPOSITORY}:pull,push,delete`;
  // Tokens last for less than a run may take: each round asks for one, outside of what is timed.
  const bearer = async (): Promise<Record<string, string>> => {
    const { body } = await call(200, { port, method: 'GET', path: asked, headers: login, keep: true });
    return { Authorization: `Bearer ${(JSON.parse(body.toString()) as { token: string }).token}` };
  };
  // A layer of its own for each push, so that none is a duplicate; changing some bytes makes it one.
  const fresh = (): { layer: Buffer; digest: string; hex: string } => {
    randomBytes(16).copy(layer);
    const hex = createHash('sha256').update(layer).digest('hex');
    return { layer, hex, digest: `sha256:${hex}` };
  };
  const sessions = `/v2/${REPOSITORY}/blobs/uploads/`;
  const locationOf = ({ headers }: Awaited<ReturnType<typeof call>>): string => headers.location ?? '';
  const pushByPatch = async (chunked: boolean): Promise<number> => {
    const headers = await bearer();
    const blob = fresh();
    return timed(async () => {
      const opened = locationOf(await call(202, { port, method: 'POST', path: sessions, headers }));
      const patched = locationOf(await call(202, { port, method: 'PATCH', path: opened, headers, body: blob.layer, chunked }));
      await call(201, { port, method: 'PUT', path: `${patched}?digest=${blob.digest}`, headers });
    });
  };
  const rawPut = (): Promise<number> => {
    const blob = fresh();
    return timed(() => call(201, { port: floor.port, method: 'PUT', path: `/put?key=${blob.hex}`, body: blob.layer }));
  };
  const pushByPut = async (): Promise<number> => {
    const headers = await bearer();
    const blob = fresh();
    return timed(async () => {
      const opened = locationOf(await call(202, { port, method: 'POST', path: sessions, headers }));
      await call(201, { port, method: 'PUT', path: `${opened}?digest=${blob.digest}`, headers, body: blob.layer });
    });
  };
  const checkedPut = (): Promise<number> => {
    const { hex, layer: body } = fresh();
    return timed(() => call(201, { port: floor.port, method: 'PUT', path: `/put-checked?key=${hex}&sha256=${hex}`, body }));
  };

  // What is pulled was stored in the same way on both sides: one `put`.
  const pulled = fresh();
  const headers = await bearer();
  await call(201, { port, method: 'POST', path: `${sessions}?digest=${pulled.digest}`, headers, body: pulled.layer });
  await call(201, { port: floor.port, method: 'PUT', path: '/put?key=pulled', body: pulled.layer });
  const type = { 'Content-Type': 'application/vnd.oci.image.index.v1+json' };
  await call(201, {
    port,
    method: 'PUT',
    path: `/v2/${REPOSITORY}/manifests/latest`,
    headers: { ...headers, ...type },
    body: manifest,
  });
  const query = await statementOfTag();
  const statement = encodeURIComponent(JSON.stringify({ sql: query, parameters: [REPOSITORY, 'latest'] }));

  return [
    {
      name: '50 MiB layer, POST + PATCH (no length) + PUT, against a raw put',
      unit: 'ms',
      limit: 1.2,
      berth: () => pushByPatch(true),
      floor: rawPut,
    },
    {
      name: '50 MiB layer, POST + PATCH + PUT, against a raw put',
      unit: 'ms',
      limit: 1.15,
      berth: () => pushByPatch(false),
      floor: rawPut,
    },
    { name: '50 MiB layer, POST + PUT, against a checked put', unit: 'ms', limit: 1.1, berth: pushByPut, floor: checkedPut },
    {
      name: '50 MiB GET, against a raw get',
      unit: 'ms',
      limit: 1.1,
      berth: async () => {
        const current = await bearer();
        return timed(() =>
          call(200, { port, method: 'GET', path: `/v2/${REPOSITORY}/blobs/${pulled.digest}`, headers: current }),
        );
      },
      floor: () => timed(() => call(200, { port: floor.port, method: 'GET', path: '/get?key=pulled' })),
    },
    {
      name: `manifest GET by tag, ${CONNECTIONS} connections, against the same query`,
      unit: 'requests/s',
      limit: 0.85,
      berth: async () => {
        const current = await bearer();
        return rate(() => call(200, { port, method: 'GET', path: `/v2/${REPOSITORY}/manifests/latest`, headers: current }));
      },
      floor: () => rate(() => call(200, { port: floor.port, method: 'GET', path: `/query?statement=${statement}` })),
    },
  ];
}

/** The statement that resolves a tag. Modules of the Worker are typed for workerd, so they are loaded by address. */
async function statementOfTag(): Promise<string> {
  const load = async (file: string): Promise<unknown> => import(new URL(`../../src/stores/${file}`, import.meta.url).href);
  await load('manifest-rows.ts');
  const { allStatements } = (await load('database.ts')) as { allStatements: readonly { readonly text: string }[] };
  const statement = allStatements.find(({ text }) => text.includes('c.content') && text.includes('JOIN tags'));
  if (statement === undefined) throw new Error('no statement resolves a tag');
  return statement.text;
}

async function schema(): Promise<string[]> {
  process.env['WRANGLER_LOG'] ??= 'error';
  const { unstable_splitSqlQuery } = await import('wrangler');
  return unstable_splitSqlQuery(
    await readFile(new URL('../../src/stores/migrations/0001_registry.sql', import.meta.url), 'utf8'),
  );
}

/** Requests a second with {@link CONNECTIONS} of them under way. */
async function rate(work: () => Promise<unknown>): Promise<number> {
  let left = REQUESTS;
  const milliseconds = await timed(() =>
    Promise.all(
      Array.from({ length: CONNECTIONS }, async () => {
        while (left-- > 0) await work();
      }),
    ),
  );
  return (REQUESTS / milliseconds) * 1000;
}

function lineOf({ name, berth, floor: theirs, unit, ratio, spread, mustReach, reached }: Measured): string {
  const figures = `${berth.toFixed(0)} against ${theirs.toFixed(0)} ${unit}, ±${(spread * 100).toFixed(0)} %`;
  return `${reached ? 'ok  ' : 'MISS'} ${name}: ${ratio.toFixed(2)} × (${mustReach}; ${figures})`;
}
