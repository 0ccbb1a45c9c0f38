/**
 * Plans by chance, each carried out from a fresh start: the first that fails is shrunk, printed and can be replayed.
 */
import * as fc from 'fast-check';
import { minimal, type Plainer } from './minimal.ts';

/** What `npm run test:… -- --runs N --seed S --path P` sets. */
export interface Chance {
  readonly runs: number;
  readonly seed: number;
  readonly path: string;
}

export interface Trial<Plan> {
  readonly plans: fc.Arbitrary<Plan>;
  /** Carried out before any random one; they count as runs. */
  readonly known: readonly Plan[];
  readonly carryOut: (plan: Plan) => Promise<void>;
  readonly milliseconds: number;
}

export interface Failure<Plan> {
  readonly plan: Plan;
  /** In which it was found. */
  readonly runs: number;
  readonly error: string;
  /** The arguments that carry out this plan alone. */
  readonly replay: string;
}

/** A test's title with the command that carries out the same plans: the report says it where the test passes, too. */
export function titled(what: string, { runs, seed, path }: Chance, script: string): string {
  return `${what} [npm run ${script} -- --runs ${runs} --seed ${seed}${path === '' ? '' : ` --path ${path}`}]`;
}

/** @throws where the runs take too long */
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

/** The shortest plan that fails like this one, how it fails, and how to see it again. */
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
  const failure = (await failureOf(smallest)) ?? 'only the whole plan fails';
  return [failure, ...[rest, ...steps].map((part) => JSON.stringify(part)), `npm run ${script} -- ${replay}`].join(
    '\n',
  );
}
