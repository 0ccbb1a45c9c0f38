/** Explores a small model whole, breadth-first. Its states are JSON values. */

export interface SmallModel<State> {
  readonly name: string;
  readonly start: State;
  /** Every move from a state, with its name. */
  readonly moves: (state: State, mistake: string | undefined) => readonly (readonly [name: string, next: State])[];
  /** Returns a sentence if the state breaks an invariant. */
  readonly violation: (state: State) => string | undefined;
  /** Mistakes that are made on purpose, with what each one is. */
  readonly mistakes: Readonly<Record<string, string>>;
}

export interface Explored {
  readonly states: number;
  readonly found: { readonly broken: string; readonly trace: readonly string[] } | undefined;
}

export function exploreSmall<State>(
  { start, moves, violation }: SmallModel<State>,
  mistake: string | undefined,
): Explored {
  const visited = new Set([JSON.stringify(start)]);
  let frontier: { readonly state: State; readonly trace: readonly string[] }[] = [{ state: start, trace: [] }];
  while (frontier.length > 0) {
    const next: typeof frontier = [];
    for (const { state, trace } of frontier) {
      for (const [name, reached] of moves(state, mistake)) {
        const text = JSON.stringify(reached);
        if (visited.has(text)) continue;
        visited.add(text);
        const at = { state: reached, trace: [...trace, name] };
        const broken = violation(reached);
        if (broken !== undefined) return { states: visited.size, found: { broken, trace: at.trace } };
        next.push(at);
      }
    }
    frontier = next;
  }
  return { states: visited.size, found: undefined };
}
