/**
 * Carries out random plans, each from a fresh start. The first one that fails is shrunk and printed, with a command
 * that repeats it.
 */
import * as fc from 'fast-check';
import { minimal, type Plainer } from './minimal.ts';

/** The options of `npm run test:… -- --runs N --seed S --path P`. */
export interface Chance {
  readonly runs: number;
  readonly seed: number;
  readonly path: string;
}

export interface Trial<Plan> {
  readonly plans: fc.Arbitrary<Plan>;
  /** Plans to carry out before any random one. They count as runs. */
  readonly known: readonly Plan[];
  readonly carryOut: (plan: Plan) => Promise<void>;
  readonly milliseconds: number;
}

export interface Failure<Plan> {
  readonly plan: Plan;
  /** The number of runs up to this failure. */
  readonly runs: number;
  readonly error: string;
  /** The arguments that carry out only this plan. */
  readonly replay: string;
}

/**
 * Returns a test's title with the command that repeats its plans, so that the report of a passing test shows it too.
 */
export function titled(what: string, { runs, seed, path }: Chance, script: string): string {
  return `${what} [npm run ${script} -- --runs ${runs} --seed ${seed}${path === '' ? '' : ` --path ${path}`}]`;
}

/** Carries out plans until one fails, and returns that failure. @throws if the runs take too long */
export async function firstFailure<Plan>(
  { plans, known, carryOut, milliseconds }: Trial<Plan>,
  { runs, seed, path }: Chance,
): Promise<Failure<Plan> | undefined> {
  const result = await fc.check(fc.asyncProperty(plans, carryOut), {
    numRuns: runs,
    seed,
    endOnFailure: true,
    examples: known.map((plan): [Plan] => [plan]),
    interruptAfterTimeLimit: milliseconds,
    markInterruptAsFailure: true,
    ...(path === '' ? {} : { path }),
  });
  const plan = result.counterexample?.[0];
  if (plan !== undefined) {
    return {
      plan,
      runs: result.numRuns,
      error: String(result.errorInstance),
      replay: `--seed ${result.seed} --path ${result.counterexamplePath}`,
    };
  }
  if (result.failed) throw new Error(`${result.numRuns} runs took longer than ${milliseconds} ms`);
  return undefined;
}

/** Describes the shortest plan that still fails, its error, and the command that repeats it. */
export async function explain<Step, Plan extends { readonly steps: readonly Step[] }>(
  { plan, replay }: Failure<Plan>,
  plainer: Plainer<Step, Plan>,
  carryOut: (plan: Plan) => Promise<void>,
  script: string,
): Promise<string> {
  const failureOf = (candidate: Plan): Promise<string | undefined> =>
    carryOut(candidate).then(
      () => undefined,
      (error: unknown) => String(error instanceof Error ? error.stack : error),
    );
  const smallest = await minimal(plan, plainer, failureOf);
  const { steps, ...rest } = smallest;
  const failure = (await failureOf(smallest)) ?? 'the plan did not fail again: the failure is not deterministic';
  return [failure, ...[rest, ...steps].map((part) => JSON.stringify(part)), `npm run ${script} -- ${replay}`].join(
    '\n',
  );
}
