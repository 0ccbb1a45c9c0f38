/**
 * The variables that hold the nodes. Cloudflare limits a variable to 5 KB, which is 39 to 59 nodes. So the nodes are
 * those of `REGISTRY`, then those of `NODES_2`, `NODES_3` and so on.
 */

/** The size of a variable as JSON: 5 KB (Cloudflare, "Limits"), read as the smaller of 5,000 and 5,120 bytes. */
export const VARIABLE_BYTES = 5_000;

/** Returns the name of a variable that holds nodes. @param number counts from 1, which is `REGISTRY` */
export function nodesVariable(number: number): string {
  return number === 1 ? 'REGISTRY' : `NODES_${number}`;
}

/** Returns the variables with the nodes of all of them in `REGISTRY`. */
export function gatherNodes(variables: object): object {
  const [first, ...more] = listsOf(variables);
  if (first === undefined || more.length === 0) return variables;
  const { REGISTRY } = variables as { REGISTRY?: object };
  const nodes = [first, ...more].flatMap(([, list]) => list ?? []);
  return { ...variables, REGISTRY: { ...REGISTRY, nodes } };
}

/**
 * Returns where the operator finds a value: `NODES_2.0.name` for the name of the first node in that variable.
 * @param path of the value in the result of {@link gatherNodes}, such as `REGISTRY.nodes.41.name`
 */
export function pathInVariables(variables: object, path: readonly PropertyKey[]): string {
  const [variable, key, index, ...rest] = path;
  if (variable !== 'REGISTRY' || key !== 'nodes' || typeof index !== 'number') return path.join('.');
  let before = 0;
  for (const [name, list = []] of listsOf(variables)) {
    const count = Array.isArray(list) ? list.length : 1;
    if (index < before + count) return [name, ...(Array.isArray(list) ? [index - before] : []), ...rest].join('.');
    before += count;
  }
  return path.join('.');
}

/** Returns the values that list nodes, by their paths, in the order of the nodes. */
function listsOf(variables: object): (readonly [path: string, list: unknown])[] {
  const { REGISTRY, ...others } = variables as { REGISTRY?: { nodes?: unknown } } & Record<string, unknown>;
  const names = Object.keys(others)
    .filter((name) => /^NODES_\d+$/.test(name))
    .toSorted((a, b) => Number(a.slice('NODES_'.length)) - Number(b.slice('NODES_'.length)));
  return [['REGISTRY.nodes', REGISTRY?.nodes], ...names.map((name) => [name, others[name]] as const)];
}

/** Returns how many bytes a variable has as JSON. */
export function variableBytes(value: unknown): number {
  return new TextEncoder().encode(JSON.stringify(value)).byteLength;
}
