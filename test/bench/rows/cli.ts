/** The command line, compared with other clients. Each push is a process, as users run it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../../src/local/simulators.ts';
import { berthProgram } from '../../e2e/berth-program.ts';
import { craneProgram } from '../../e2e/clients/crane.ts';
import { commandOutput, withDaemon } from '../../e2e/command.ts';
import { OCI_MANIFEST, writeBlob, writeIndex } from '../../e2e/images/layout.ts';
import { largeContent } from '../content.ts';
import { timed } from '../measure.ts';
import { compare, type Row } from '../row.ts';
import type { Berth, Surroundings } from '../surroundings.ts';

const MEBIBYTE = 1024 ** 2;
const COMMAND_SECONDS = 300;
/** Pushes of large layers take long, and vary little. */
const ROUNDS = 3;

/** Makes an image of one new layer in an OCI layout, and deletes it after its use. */
async function withNewImage<T>(mebibytes: number, use: (layout: string) => Promise<T>): Promise<T> {
  const layout = await mkdtemp(join(tmpdir(), 'berth-bench-image-'));
  try {
    const layer = largeContent(mebibytes * MEBIBYTE);
    const layers = [await writeBlob(layout, 'application/vnd.oci.image.layer.v1.tar+gzip', layer.pieces())];
    const config = await writeJson(layout, 'application/vnd.oci.image.config.v1+json', {
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
    });
    const manifest = await writeJson(layout, OCI_MANIFEST, {
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config,
      layers,
    });
    await writeIndex(layout, 'v1', manifest);
    return await use(layout);
  } finally {
    await rm(layout, { recursive: true, force: true });
  }
}

function writeJson(layout: string, mediaType: string, value: object) {
  return writeBlob(layout, mediaType, [Buffer.from(JSON.stringify(value))]);
}

/** Pushes a new image, and returns the milliseconds of the client alone. */
function pushBySkopeo(host: string, mebibytes: number): Promise<number> {
  return withNewImage(mebibytes, (layout) => {
    const options = ['--quiet', '--preserve-digests', '--dest-tls-verify=false', '--dest-creds=alice:alice-dev'];
    const copy = ['copy', ...options, `oci:${layout}:v1`, `docker://${host}/alice/bench:v1`];
    return timed(() => commandOutput('skopeo', copy, { timeoutSeconds: COMMAND_SECONDS }));
  });
}

/** Compares one layer, pushed by both programs with the same login. */
async function comparePush(surroundings: Surroundings, mebibytes: number, berth: Berth, limit: number) {
  const { central } = berth;
  const host = `localhost:${central.port}`;
  const size = surroundings.tiny ? 1 : mebibytes;
  const program = await berthProgram();
  const crane = await craneProgram();
  const home = await mkdtemp(join(tmpdir(), 'berth-bench-home-'));
  await writeFile(join(home, 'config.json'), JSON.stringify({ auths: { [host]: { auth: btoa('alice:alice-dev') } } }));
  const env = { HOME: home, DOCKER_CONFIG: home, XDG_STATE_HOME: home };
  const run = (command: string, args: readonly string[]): Promise<number> =>
    timed(() => commandOutput(command, args, { timeoutSeconds: COMMAND_SECONDS, env }));
  const image = `${host}/alice/bench:v1`;
  try {
    return await compare({
      limit,
      rounds: ROUNDS,
      ours: () =>
        withNewImage(size, (layout) => run(process.execPath, [program, 'push', '--quiet', `oci:${layout}:v1`, image])),
      theirs: () => withNewImage(size, (layout) => run(crane, ['push', layout, image])),
    });
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

async function compareGateway(surroundings: Surroundings, mebibytes: number) {
  const { central } = await surroundings.plain();
  const host = `localhost:${central.port}`;
  const size = surroundings.tiny ? 1 : mebibytes;
  const program = await berthProgram();
  const port = await freePort();
  const isReady = async (): Promise<boolean> => (await fetch(`http://localhost:${port}/v2/`).catch(() => 0)) !== 0;
  return withDaemon(process.execPath, [program, 'gateway', host, '--port', String(port)], { isReady }, () =>
    compare({
      limit: 1.3,
      rounds: ROUNDS,
      ours: () => pushBySkopeo(`localhost:${port}`, size),
      theirs: () => pushBySkopeo(host, size),
    }),
  );
}

export const cli: readonly Row[] = [
  {
    name: 'cli: 1 GiB by berth push where requests may be of any size, against crane push',
    mustReach: '≤ 1.1 ×',
    boundBy: 'the registry: both send the layer whole',
    run: async (surroundings) => {
      const berth = await surroundings.startUnlimited();
      try {
        return await comparePush(surroundings, 1024, berth, 1.1);
      } finally {
        await berth.stop();
      }
    },
  },
  {
    name: 'cli: 1 GiB by berth push in chunks of 64 MiB, against crane push in one request',
    mustReach: '≤ 1.4 ×',
    boundBy: 'the registry, which hashes chunks in JavaScript, and a whole layer natively',
    run: async (surroundings) => comparePush(surroundings, 1024, await surroundings.plain(), 1.4),
  },
  {
    name: 'cli: 512 MiB by skopeo through berth gateway, against skopeo alone',
    mustReach: '≤ 1.3 ×',
    boundBy: 'chunks of 64 MiB that stream through, and the registry that hashes them',
    run: (surroundings) => compareGateway(surroundings, 512),
  },
  {
    name: 'cli: 48 MiB by skopeo through berth gateway, against skopeo alone',
    mustReach: '≤ 1.3 ×',
    boundBy: 'one request, as without a gateway',
    run: (surroundings) => compareGateway(surroundings, 48),
  },
];
