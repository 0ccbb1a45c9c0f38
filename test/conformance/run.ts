/** `npm run conformance`: the official suite, for the released spec and the coming one, against what `npm start` runs. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../e2e/command.ts';
import { buildGoProgram, GO_REMEDY, hasGo } from '../e2e/go-program.ts';
import { type TemporaryRegistry, withTemporaryRegistry } from '../e2e/temporary-registry.ts';
import { countFailures, failingCases, parseTotals } from './totals.ts';

const SUITE = 'github.com/opencontainers/distribution-spec/conformance';
const SUITE_VERSION = 'v0.0.0-20260831232431-97274622c111';
const TIMEOUT_SECONDS = 600;
const MOST_NAMES = 50;

/** Full marks. The two that are disabled in 1.1 cancel an upload, which that version does not have. */
const REQUIRED = [
  { version: '1.1', pass: 860, disabled: 2 },
  { version: 'dev', pass: 986, disabled: 0 },
] as const;

async function runSuite(program: string, registry: TemporaryRegistry, version: string): Promise<string> {
  const results = join(registry.directory, `results-${version}`);
  await mkdir(results);
  const env = {
    OCI_REGISTRY: `127.0.0.1:${registry.port}`,
    OCI_TLS: 'disabled',
    OCI_VERSION: version,
    OCI_REPO1: 'alice/conformance1',
    OCI_REPO2: 'alice/conformance2',
    OCI_USERNAME: 'alice',
    OCI_PASSWORD: 'alice-dev',
    OCI_RESULTS_DIR: results,
  };
  const { output } = await runCommand(program, [], { timeoutSeconds: TIMEOUT_SECONDS, env, directory: results });
  return output;
}

if (!(await hasGo())) {
  console.error(`The conformance suite is a Go program. ${GO_REMEDY}`);
  process.exit(1);
}

let [passed, failed] = [0, 0];
await withTemporaryRegistry(async (registry) => {
  const program = await buildGoProgram(SUITE, SUITE_VERSION);
  for (const required of REQUIRED) {
    const output = await runSuite(program, registry, required.version);
    const totals = parseTotals(output);
    const failures = countFailures(totals, required);
    passed += totals?.pass ?? 0;
    failed += failures;
    const { pass = 0, disabled = 0, bad = 0 } = totals ?? {};
    console.log(`${failures === 0 ? 'ok' : 'FAILED'} OCI ${required.version}: ${pass} pass, ${disabled} disabled, ${bad} other`);
    if (failures === 0) continue;
    console.log(`    required: ${required.pass} pass, ${required.disabled} disabled`);
    const names = failingCases(output);
    for (const name of names.slice(0, MOST_NAMES)) console.log(`    ${name}`);
    if (names.length > MOST_NAMES) console.log(`    and ${names.length - MOST_NAMES} more`);
    if (totals === undefined) console.log(output.slice(-4000));
  }
});
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
