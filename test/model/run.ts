/**
 * `npm run test:model` explores every state that central and two nodes can reach within limits, and proves that it
 * finds planted mistakes. `--depth N` sets the number of operations. `--mutation name` makes only that mistake.
 */
import { parseArgs } from 'node:util';
import { ALL_CLOCKS } from './clocks.ts';
import { exploreAll } from './exploration.ts';
import { explore, type Exploration } from './explore.ts';
import type { Limits } from './limits.ts';
import { isMutation, type Mutation, MUTATIONS } from './mutations.ts';
import { AUTHORS } from './authors.ts';
import { COPIES_UP } from './copies-up.ts';
import { FORWARDING } from './forwarding/model.ts';
import { PROMISED_LINKS } from './promised-links.ts';
import {
  cellsOf,
  DEFAULT_DEPTH,
  MISTAKEN,
  MISTAKEN_TWICE,
  MISTAKEN_TYPES,
  NOT_EXPLORED,
  scenariosOf,
} from './scenarios.ts';
import { exploreSmall, type SmallModel } from './small-model.ts';

/** Every mistake shows within this many moves. */
const MOST_MOVES = 8;

/** The limits of mistakes that need others than {@link MISTAKEN}. */
const LIMITS: Partial<Record<Mutation, Limits>> = {
  'replaced-in-place': MISTAKEN_TWICE,
  'later-type': MISTAKEN_TYPES,
  'push-retypes': MISTAKEN_TYPES,
  'dead-type': MISTAKEN_TYPES,
};

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
  if (found !== undefined) showTrace(found);
}

function showTrace({ broken, trace }: { readonly broken: string; readonly trace: readonly string[] }): void {
  console.log(`    ${broken}`);
  for (const [i, move] of trace.entries()) console.log(`    ${i + 1}. ${move}`);
}

/** Checks that the real rules break no invariant. */
async function checkRules(depth: number): Promise<void> {
  const scenarios = scenariosOf(depth);
  console.log('explored: tags and manifests | pushes | operations | removals | reads | disturbances | clocks');
  for (const scenario of scenarios) console.log(`    ${cellsOf(scenario).join(' | ')}`);
  console.log(`not explored at the default depth, ${DEFAULT_DEPTH}:`);
  for (const line of NOT_EXPLORED) console.log(`    ${line}`);
  const asked = scenarios.flatMap((scenario) => scenario.clocks.map((clocks) => ({ ...scenario, clocks })));
  const results = exploreAll(asked);
  for (const [i, { clocks, ...scenario }] of asked.entries()) {
    const result = await results[i]!;
    const [things, pushes] = cellsOf({ ...scenario, clocks: [clocks] });
    const { operations, removals, reads, disturbances } = scenario.limits;
    const writes = `${operations} operations, ${removals} of them removals`;
    const { states, depth: moves, milliseconds } = result;
    report(
      result.found === undefined,
      `tags and manifests ${things}, pushed ${pushes}, ${writes}, ${reads} reads, ` +
        `${disturbances} disturbances, clocks ${clocks.name}: ` +
        `${states} states, ${moves} moves deep, ${inSeconds(milliseconds)}`,
    );
    show(result);
  }
}

/** Checks that a mistake is found under some clocks, and shows the shortest path to it. */
function checkMutation(mutation: Mutation): void {
  const start = performance.now();
  let states = 0;
  for (let moves = 1; moves <= MOST_MOVES; moves++) {
    for (const clocks of ALL_CLOCKS) {
      const result = explore({ clocks, limits: LIMITS[mutation] ?? MISTAKEN, mutation }, moves);
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

/** Checks a small model, and that its mistakes are found. */
function checkSmall<State>(model: SmallModel<State>): void {
  const { states, found } = exploreSmall(model, undefined);
  report(found === undefined, `${model.name}: ${states} states`);
  if (found !== undefined) showTrace(found);
  for (const [name, what] of Object.entries(model.mistakes)) {
    const mistaken = exploreSmall(model, name);
    const is = mistaken.found === undefined ? 'not found' : 'found';
    report(mistaken.found !== undefined, `${name} (${what}): ${is}; ${mistaken.states} states`);
    if (mistaken.found !== undefined) showTrace(mistaken.found);
  }
}

const { values } = parseArgs({ options: { depth: { type: 'string' }, mutation: { type: 'string' } } });
const depth = Number(values.depth ?? DEFAULT_DEPTH);
const names = Object.keys(MUTATIONS).filter(isMutation);
if (!Number.isInteger(depth) || depth < 2) throw new Error('--depth must be a number of operations, at least 2');
if (values.mutation !== undefined && !isMutation(values.mutation)) {
  throw new Error(`--mutation must be one of ${names.join(', ')}`);
}
if (values.mutation === undefined) {
  await checkRules(depth);
  for (const name of names) checkMutation(name);
  checkSmall(PROMISED_LINKS);
  checkSmall(COPIES_UP);
  checkSmall(AUTHORS);
  checkSmall(FORWARDING);
} else checkMutation(values.mutation);
console.log(`${inSeconds(performance.now())} in total`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
