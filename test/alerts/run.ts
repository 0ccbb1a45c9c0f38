/**
 * `npm run test:alerts`: has Prometheus' own promtool check the rules and the queries that operators are given, and run
 * the rules' unit tests. Debian's package `prometheus` has promtool.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Dashboard {
  readonly panels: readonly { readonly id: number; readonly targets?: readonly { refId: string; expr: string }[] }[];
}

const DEPLOY = fileURLToPath(new URL('../../deploy', import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'berth-alerts-'));

/** Rules with the dashboard's queries, as Grafana sends them: promtool checks nothing but rules. */
function queriesAsRules(): string {
  const { panels } = JSON.parse(readFileSync(join(DEPLOY, 'dashboard.json'), 'utf8')) as Dashboard;
  const rules = panels.flatMap(({ id, targets = [] }) =>
    targets.map(({ refId, expr }) => ({
      record: `panel_${id}:${refId}`,
      expr: expr.replaceAll('$__rate_interval', '5m').replaceAll('$store', '.*'),
    })),
  );
  const file = join(work, 'queries.yml');
  // JSON is YAML.
  writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
  return file;
}

const STEPS: readonly (readonly [name: string, args: readonly string[]])[] = [
  ['rules', ['check', 'rules', 'alerts.yml']],
  ["rules' tests", ['test', 'rules', 'alerts.test.yml']],
  ["the dashboard's queries", ['check', 'rules', queriesAsRules()]],
];

let passed = 0;
let failed = 0;
for (const [name, args] of STEPS) {
  const { status, error, stdout, stderr } = spawnSync('promtool', args, { cwd: DEPLOY, encoding: 'utf8' });
  if (status === 0) {
    passed++;
    console.log(`${name}: ok`);
    continue;
  }
  failed++;
  const missing = "promtool did not start. Debian's package prometheus has it";
  console.error(`${name}: ${error === undefined ? `${stdout}${stderr}` : `${missing}: ${error.message}`}`);
}
rmSync(work, { recursive: true });
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
