/**
 * `npm run conformance`: runs the official suite, for the released spec and the next one, against the registry of `npm
 * start`: at central, at a node, and with pushes to a node and reads from central.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type CommandResult, runCommand } from '../e2e/command.ts';
import { passwordOf } from '../e2e/expectations.ts';
import { buildGoProgram, GO_REMEDY, hasGo } from '../e2e/go-program.ts';
import { hostNamed, type TemporaryRegistry, withTemporaryRegistry } from '../e2e/temporary-registry.ts';
import { withSplitFront } from './split-front.ts';
import { countFailures, failingCases, parseTotals } from './totals.ts';

const SUITE = 'github.com/opencontainers/distribution-spec/conformance';
const SUITE_VERSION = 'v0.0.0-20260831232431-97274622c111';
const TIMEOUT_SECONDS = 600;
const MOST_NAMES = 50;

/** Full marks. The two cases that are disabled in 1.1 cancel an upload, which that version does not define. */
const REQUIRED = [
  { version: '1.1', pass: 860, disabled: 2 },
  { version: 'dev', pass: 986, disabled: 0 },
] as const;

interface Place {
  readonly name: string;
  /** Path below `alice/`: each place has its own repositories, so that none finds what another pushed. */
  readonly folder: string;
  /** Runs `use` with the port of the place, and returns a note about the run. */
  readonly with: (registry: TemporaryRegistry, use: (port: number) => Promise<void>) => Promise<string>;
}

const PLACES: readonly Place[] = [
  ...['central', 'node1'].map((host): Place => ({
    name: `at ${host}`,
    folder: host,
    with: async (registry, use) => {
      await use(hostNamed(registry, host).port);
      return '';
    },
  })),
  { name: 'pushed to node1, read at central', folder: 'split', with: withNodeAndCentral },
];

async function withNodeAndCentral(registry: TemporaryRegistry, use: (port: number) => Promise<void>): Promise<string> {
  const [central, node] = [hostNamed(registry, 'central'), hostNamed(registry, 'node1')];
  const user = { name: 'alice', password: passwordOf('alice') };
  const administrator = { name: 'admin', password: passwordOf('admin') };
  let note = '';
  await withSplitFront({ central, node, user, administrator }, async (front) => {
    await use(front.port);
    if (front.waited() === 0) throw new Error('central was never asked for anything that was pushed to the node');
    note = `; central answered ${front.readsAtCentral()} reads, ${front.waited()} after waiting for announcements`;
  });
  return note;
}

async function runSuite(
  program: string,
  { directory }: TemporaryRegistry,
  { folder }: Place,
  port: number,
  version: string,
): Promise<CommandResult> {
  const results = join(directory, `results-${folder}-${version}`);
  await mkdir(results);
  const env = {
    OCI_REGISTRY: `127.0.0.1:${port}`,
    OCI_TLS: 'disabled',
    OCI_VERSION: version,
    OCI_REPO1: `alice/${folder}/conformance1`,
    OCI_REPO2: `alice/${folder}/conformance2`,
    OCI_USERNAME: 'alice',
    OCI_PASSWORD: passwordOf('alice'),
    OCI_RESULTS_DIR: results,
  };
  return runCommand(program, [], { timeoutSeconds: TIMEOUT_SECONDS, env, directory: results });
}

if (!(await hasGo())) {
  console.error(`The conformance suite is a Go program. ${GO_REMEDY}`);
  process.exit(1);
}

let [passed, failed] = [0, 0];
await withTemporaryRegistry(async (registry) => {
  const program = await buildGoProgram(SUITE, SUITE_VERSION);
  for (const place of PLACES) {
    for (const required of REQUIRED) {
      let [output, seconds] = ['', 0];
      const note = await place.with(registry, async (port) => {
        ({ output, seconds } = await runSuite(program, registry, place, port, required.version));
      });
      const totals = parseTotals(output);
      const failures = countFailures(totals, required);
      passed += totals?.pass ?? 0;
      failed += failures;
      const { pass = 0, disabled = 0, bad = 0 } = totals ?? {};
      const status = `${failures === 0 ? 'ok' : 'FAILED'} OCI ${required.version} ${place.name}`;
      console.log(`${status}: ${pass} pass, ${disabled} disabled, ${bad} other (${seconds.toFixed(0)} s${note})`);
      if (failures === 0) continue;
      console.log(`    required: ${required.pass} pass, ${required.disabled} disabled`);
      const names = failingCases(output);
      for (const name of names.slice(0, MOST_NAMES)) console.log(`    ${name}`);
      if (names.length > MOST_NAMES) console.log(`    and ${names.length - MOST_NAMES} more`);
      if (totals === undefined) console.log(output.slice(-4000));
    }
  }
});
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
