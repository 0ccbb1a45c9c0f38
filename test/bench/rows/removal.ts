/** The time that the removal of a very large repository takes, and how much it slows down pulls. */
import { basic, imageOf, randomBlob } from '../client.ts';
import type { Control } from '../control.ts';
import { insert } from '../fill.ts';
import { median, quantile, timed } from '../measure.ts';
import { outcome, type Row } from '../row.ts';

const MANIFESTS = 1_000_000;
/** Below the 20 s for which the request's own sweep goes on. */
const MEANWHILE_MILLISECONDS = 18_000;
const MEDIAN_LIMIT = 1.3;
const REPOSITORY = 'alice/large';

/** Inserts manifests, each with its content, a tag and the same blob. */
async function fill(control: Control, count: number, blob: string): Promise<void> {
  const digest = "'sha256:' || printf('%064x', i)";
  const rows: readonly (readonly [into: string, select: string])[] = [
    ['manifest_contents', `SELECT '${REPOSITORY}', ${digest}, 0, '{}' FROM n`],
    [
      `manifests (repository, digest, media_type, artifact_type, subject, size, created_version, deleted_version,
        last_pull, descriptors)`,
      `SELECT '${REPOSITORY}', ${digest}, 'application/vnd.oci.image.manifest.v1+json', '', NULL, 2, 1, 0, 0,
        json_array(json_object('kind', 'layer', 'digest', '${blob}', 'size', 1000)) FROM n`,
    ],
    ['tags', `SELECT '${REPOSITORY}', printf('v%07d', i), ${digest}, 1, 'central', 1, '' FROM n`],
  ];
  for (const [into, select] of rows) await insert(control, 'central', count, into, select);
}

const removing: Row = {
  name: `removal: a repository of ${MANIFESTS.toLocaleString('en')} manifests, and a pull meanwhile against idle`,
  mustReach: `≤ ${MEDIAN_LIMIT} × median`,
  boundBy: 'slices of 100 rows, each followed by a pause five times as long',
  run: async (surroundings) => {
    const [manifests, meanwhile] = surroundings.tiny ? [2000, 1000] : [MANIFESTS, MEANWHILE_MILLISECONDS];
    const berth = await surroundings.startCounted();
    try {
      const { control } = berth;
      const [{ central: large }, { central: small }] = [berth.clients(REPOSITORY), berth.clients('alice/meanwhile')];
      const blob = randomBlob(1000);
      for (const client of [large, small]) {
        await client.logIn();
        await client.pushByPut(blob.bytes, blob.digest);
        await client.pushManifest(imageOf(blob), 'latest');
      }
      await fill(control, manifests, blob.digest);
      const pull = (): Promise<number> =>
        timed(async () => {
          await small.request(200, 'GET', 'manifests/latest');
          await small.request(200, 'GET', `blobs/${blob.digest}`);
        });
      const pullFor = async (milliseconds: number): Promise<number[]> => {
        const [end, times] = [performance.now() + milliseconds, [] as number[]];
        while (performance.now() < end) times.push(await pull());
        return times;
      };
      await small.logIn();
      await pullFor(meanwhile / 10);
      await control.quiet();
      const idle = await pullFor(meanwhile);
      await control.resetCounts();
      const path = '/api/organizations/alice/repositories/large';
      const answered = await timed(() => large.request(204, 'DELETE', path, { headers: basic('alice') }));
      const gone = await large.status('GET', 'manifests/latest');
      const busy = await pullFor(meanwhile);
      const { rowsRead, rowsWritten } = await control.counts();
      const at = (share: number): number => quantile(busy, share) / quantile(idle, share);
      return outcome(
        `${at(0.5).toFixed(2)} ×, p99 ${at(0.99).toFixed(2)} ×`,
        [
          ...(at(0.5) <= MEDIAN_LIMIT ? [] : ['the median pull is slower']),
          ...(gone === 404 ? [] : [`the removed image is ${gone}`]),
          ...(rowsWritten > 0 ? [] : ['nothing was swept meanwhile']),
        ],
        `pull ${median(busy).toFixed(1)} against ${median(idle).toFixed(1)} ms, ${busy.length} and ${idle.length} of them; ` +
          `the removal was answered in ${answered.toFixed(0)} ms; meanwhile ${rowsRead} rows read and ${rowsWritten} written`,
        { idle, busy, answered, rowsRead, rowsWritten },
      );
    } finally {
      await berth.stop();
    }
  },
};

export const removal: readonly Row[] = [removing];
