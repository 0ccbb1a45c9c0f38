/** Shrinks a failing plan: leaves out steps, then makes the remaining ones simpler, as long as the plan still fails. */

interface Steps<Step> {
  readonly steps: readonly Step[];
}

/** Simpler variants of a step and of a plan to try, simplest first. */
export interface Plainer<Step, Plan extends Steps<Step>> {
  readonly step: (step: Step) => readonly Step[];
  readonly plan: (plan: Plan) => readonly Plan[];
}

/** Returns the smallest failing plan. @param fails carries out a plan and returns its error; undefined if it passes */
export async function minimal<Step, Plan extends Steps<Step>>(
  plan: Plan,
  plainer: Plainer<Step, Plan>,
  fails: (plan: Plan) => Promise<string | undefined>,
): Promise<Plan> {
  let smallest = plan;
  const attempt = async (candidate: Plan): Promise<boolean> => {
    if ((await fails(candidate)) === undefined) return false;
    smallest = candidate;
    return true;
  };
  for (let size = Math.ceil(plan.steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let end = smallest.steps.length; end > 0; end -= size) {
      const start = Math.max(0, end - size);
      await attempt({ ...smallest, steps: smallest.steps.toSpliced(start, end - start) });
    }
  }
  for (let i = smallest.steps.length - 1; i >= 0; i--) {
    const step = smallest.steps[i];
    if (step === undefined) continue;
    for (const changed of plainer.step(step)) {
      if (await attempt({ ...smallest, steps: smallest.steps.with(i, changed) })) break;
    }
  }
  for (const changed of plainer.plan(smallest)) if (await attempt(changed)) break;
  return smallest;
}
