/** Imports, compared with a client that copies the same images to the same registry. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MemoryUpstream } from '../../support/local/upstream.ts';
import { commandOutput } from '../../e2e/command.ts';
import { basic } from '../client.ts';
import { call } from '../http.ts';
import { timed } from '../measure.ts';
import { compare, type Row } from '../row.ts';
import type { Surroundings } from '../surroundings.ts';

const MEBIBYTE = 1024 ** 2;
const IMAGES = 30;
/** Bytes of the layers of an image. */
const LAYERS = [6 * MEBIBYTE, MEBIBYTE, 100_000];
const COMMAND_SECONDS = 600;
const ROUNDS = 5;

interface Ended {
  readonly id: string;
  readonly state: string;
  readonly skipped: number;
  readonly created_at: string;
  readonly ended_at: string;
}

/** Fills an upstream with new images, and returns the rate at which they are copied, in MiB a second. */
async function rateOf(images: number, copy: (upstream: string) => Promise<number>): Promise<number> {
  const upstream = await MemoryUpstream.start();
  try {
    for (let i = 0; i < images; i++) upstream.image('app', [`t${i}`], LAYERS);
    const milliseconds = await copy(upstream.url);
    return (images * LAYERS.reduce((sum, bytes) => sum + bytes)) / MEBIBYTE / (milliseconds / 1000);
  } finally {
    await upstream.stop();
  }
}

/** Imports all tags of a repository. @returns the milliseconds from its request to its end */
async function importFrom(from: string, port: number, as: string): Promise<number> {
  const headers = { ...basic('alice'), 'Content-Type': 'application/json' };
  const path = '/api/organizations/alice/imports';
  const body = Buffer.from(JSON.stringify({ from, repositories: ['app'], as }));
  const started = await call(202, { port, method: 'POST', path, headers, body, keep: true });
  const { id } = JSON.parse(started.body.toString()) as Ended;
  for (;;) {
    const seen = await call(200, { port, method: 'GET', path: `${path}/${id}?wait=60`, headers, keep: true });
    const report = JSON.parse(seen.body.toString()) as Ended;
    if (report.state === 'running') continue;
    if (report.state !== 'done' || report.skipped > 0) throw new Error(`the import ended as ${seen.body.toString()}`);
    return Date.parse(report.ended_at) - Date.parse(report.created_at);
  }
}

async function syncFrom(from: string, port: number, name: string): Promise<number> {
  const home = await mkdtemp(join(tmpdir(), 'berth-bench-home-'));
  const env = { HOME: home, XDG_RUNTIME_DIR: home };
  const options = ['--all', '--src-tls-verify=false', '--dest-tls-verify=false', '--dest-creds=alice:alice-dev'];
  const ends = [`${new URL(from).host}/app`, `localhost:${port}/alice/${name}`];
  const sync = ['sync', ...options, '--src', 'docker', '--dest', 'docker', ...ends];
  try {
    return await timed(() => commandOutput('skopeo', sync, { timeoutSeconds: COMMAND_SECONDS, env }));
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

async function compareWithSkopeo(surroundings: Surroundings) {
  const { port } = (await surroundings.plain()).central;
  const images = surroundings.tiny ? 2 : IMAGES;
  let round = 0;
  return compare({
    limit: 1,
    unit: 'MiB/s',
    rounds: surroundings.tiny ? 1 : ROUNDS,
    ours: () => rateOf(images, (from) => importFrom(from, port, `imported${round++}`)),
    theirs: () => rateOf(images, (from) => syncFrom(from, port, `synced${round++}`)),
  });
}

export const imports: readonly Row[] = [
  {
    name: `imports: ${IMAGES} images of 7 MiB, against skopeo sync of the same`,
    mustReach: '≥ 1.0 ×',
    boundBy: 'the writes, which both make',
    run: compareWithSkopeo,
  },
];
