/** Shrinks a plan that fails: leaves out steps, then faults, as long as it still does. */
import type { Plan } from './operations.ts';

/** @param fails carries a plan out, and answers how it fails, or undefined where it does not */
export async function minimal(plan: Plan, fails: (plan: Plan) => Promise<string | undefined>): Promise<Plan> {
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
    const changed = { ...step, pause: 0, fault: null };
    if (step.fault === null && step.pause === 0) continue;
    if (await attempt({ ...smallest, steps: smallest.steps.with(i, changed) })) continue;
    if (step.pause > 0) await attempt({ ...smallest, steps: smallest.steps.with(i, { ...step, pause: 0 }) });
  }
  await attempt({ ...smallest, skews: { central: 0, node1: 0, node2: 0 } });
  return smallest;
}
