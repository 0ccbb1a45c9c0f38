/**
 * `npm run test:model`: looks at every state that central and two nodes can come to, within limits, and shows that it
 * would find mistakes. `--depth N` sets the operations, `--mutation name` makes one mistake only.
 */
import { parseArgs } from 'node:util';
import { ALL_CLOCKS } from './clocks.ts';
import { explore, type Exploration } from './explore.ts';
import { isMutation, type Mutation, MUTATIONS } from './mutations.ts';
import { DEFAULT_DEPTH, MISTAKEN, scenariosOf } from './scenarios.ts';

/** Mistakes show themselves sooner. */
const MOST_MOVES = 8;

let [passed, failed] = [0, 0];

function report(ok: boolean, line: string): void {
  if (ok) passed++;
  else failed++;
  console.log(`${ok ? 'ok' : 'FAILED'} ${line}`);
}

function inSeconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

function show({ found }: Exploration): void {
  if (found === undefined) return;
  console.log(`    ${found.broken}`);
  for (const [i, move] of found.trace.entries()) console.log(`    ${i + 1}. ${move}`);
}

/** The real rules: no invariant is broken. */
function checkRules(depth: number): void {
  for (const { name, limits, clocks: all } of scenariosOf(depth)) {
    for (const clocks of all) {
      const start = performance.now();
      const result = explore({ clocks, limits, mutation: undefined });
      const took = inSeconds(performance.now() - start);
      report(
        result.found === undefined,
        `${name}, ${limits.operations} operations, clocks ${clocks.name}: ${result.states} states, ${result.depth} moves deep, ${took}`,
      );
      show(result);
    }
  }
}

/** A mistake is found, under some clocks; the shortest way to it is shown. */
function checkMutation(mutation: Mutation): void {
  const start = performance.now();
  let states = 0;
  for (let moves = 1; moves <= MOST_MOVES; moves++) {
    for (const clocks of ALL_CLOCKS) {
      const result = explore({ clocks, limits: MISTAKEN, mutation }, moves);
      states += result.states;
      if (result.found === undefined) continue;
      const took = inSeconds(performance.now() - start);
      report(true, `${mutation} (${MUTATIONS[mutation]}): found, clocks ${clocks.name}; ${states} states, ${took}`);
      show(result);
      return;
    }
  }
  report(false, `${mutation} (${MUTATIONS[mutation]}): not found in ${MOST_MOVES} moves; ${states} states`);
}

const { values } = parseArgs({ options: { depth: { type: 'string' }, mutation: { type: 'string' } } });
const depth = Number(values.depth ?? DEFAULT_DEPTH);
const names = Object.keys(MUTATIONS).filter(isMutation);
if (!Number.isInteger(depth) || depth < 2) throw new Error('--depth is a number of operations, at least 2');
if (values.mutation !== undefined && !isMutation(values.mutation)) {
  throw new Error(`--mutation is one of ${names.join(', ')}`);
}
if (values.mutation === undefined) {
  checkRules(depth);
  for (const name of names) checkMutation(name);
} else checkMutation(values.mutation);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
