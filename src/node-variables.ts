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
  const names = Object.keys(variables)
    .filter((name) => /^NODES_\d+$/.test(name))
    .toSorted((a, b) => Number(a.slice('NODES_'.length)) - Number(b.slice('NODES_'.length)));
  if (names.length === 0) return variables;
  const { REGISTRY, ...rest } = variables as { REGISTRY?: { nodes?: unknown } } & Record<string, unknown>;
  const nodes = [REGISTRY?.nodes ?? [], ...names.map((name) => rest[name])].flat();
  return { ...rest, REGISTRY: { ...REGISTRY, nodes } };
}

/** Returns how many bytes a variable has as JSON. */
export function variableBytes(value: unknown): number {
  return new TextEncoder().encode(JSON.stringify(value)).byteLength;
}
