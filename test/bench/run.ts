/**
 * `npm run bench`: compares Berth with a floor Worker, in one run, on the embedded simulators. Only ratios and counts
 * are meaningful: the simulators' absolute figures say nothing about Cloudflare's. `npm run bench -- nodes uploads`
 * runs the rows whose names contain one of these words; `--tiny` only checks that the rows work.
 */
import { type Result, writeReport } from './report.ts';
import type { Outcome, Row } from './row.ts';
import { cli } from './rows/cli.ts';
import { collection } from './rows/collection.ts';
import { consolePages } from './rows/console.ts';
import { deployment } from './rows/deployment.ts';
import { images } from './rows/images.ts';
import { imports } from './rows/imports.ts';
import { memory } from './rows/memory.ts';
import { mirrors } from './rows/mirrors.ts';
import { nodesCopies } from './rows/nodes-copies.ts';
import { nodesPush } from './rows/nodes-push.ts';
import { nodesSeen } from './rows/nodes-seen.ts';
import { operations } from './rows/operations.ts';
import { reads } from './rows/reads.ts';
import { removal } from './rows/removal.ts';
import { scale } from './rows/scale.ts';
import { stalled } from './rows/stalled.ts';
import { uploads } from './rows/uploads.ts';
import { uploadsInChunks } from './rows/uploads-chunks.ts';
import { Surroundings } from './surroundings.ts';

const ROWS: readonly Row[] = [
  ...uploads,
  ...cli,
  ...uploadsInChunks,
  ...reads,
  ...mirrors,
  ...operations,
  ...images,
  ...imports,
  ...scale,
  ...consolePages,
  ...memory,
  ...stalled,
  ...nodesPush,
  ...nodesSeen,
  ...nodesCopies,
  ...deployment,
  ...collection,
  ...removal,
];

const tiny = process.argv.includes('--tiny');
const filters = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const chosen = ROWS.filter(({ name }) => filters.length === 0 || filters.some((filter) => name.includes(filter)));
if (chosen.length === 0) throw new Error(`no row's name contains ${filters.join(' or ')}`);

const surroundings = new Surroundings(tiny);
const results: Result[] = [];
try {
  for (const { name, mustReach, boundBy, run } of chosen) {
    const started = performance.now();
    const outcome = await run(surroundings).catch(async (error: unknown) => {
      await surroundings.forget();
      return failed(error);
    });
    const seconds = Math.round((performance.now() - started) / 1000);
    results.push({ name, mustReach, boundBy, seconds, ...outcome });
    const wanted = mustReach === '' ? '' : ` (${mustReach})`;
    console.log(
      `${outcome.reached ? 'ok  ' : 'MISS'} ${name}: ${outcome.measured}${wanted}\n       ${outcome.details}`,
    );
  }
} finally {
  await surroundings.stop();
}
await writeReport(results, tiny);
if (results.some(({ reached }) => !reached)) process.exitCode = 1;

/** A row that cannot be measured counts as missed; the other rows still run. */
function failed(error: unknown): Outcome {
  const details = error instanceof Error ? error.message : String(error);
  return { measured: 'failed', reached: false, details: details.slice(0, 500), figures: { error: details } };
}
