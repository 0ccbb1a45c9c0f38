/** Room for another node: in the variables of the Worker, and among the custom domains of a zone. */
import { nodesVariable, VARIABLE_BYTES, variableBytes } from '../node-variables.ts';
import { type ConfiguredNode, type Production, Refusal } from './wrangler-toml.ts';

/** Custom domains of a zone (Cloudflare, "Workers limits"). */
export const CUSTOM_DOMAINS = 100;

/** The longest values that an operator may later add to a node. */
const LATER = { limit_bytes: 999_000_000_000_000, idle_days: 9999 };
/** Room that settings may later need in REGISTRY: twice the bytes of its settings today. */
const OTHER_SETTINGS_BYTES = 800;

/** Returns the first variable that has room for the node, even if all of its nodes get limits. */
export function roomFor({ variables }: Production, node: ConfiguredNode): string {
  for (let number = 1; ; number++) {
    const name = nodesVariable(number);
    const { nodes, ...rest } = contentOf(variables[name]);
    const reserved = number === 1 ? OTHER_SETTINGS_BYTES : 0;
    const later = (nodes.length + 1) * variableBytes(LATER);
    const bytes = variableBytes({ ...rest, nodes: [...nodes, node] }) + later + reserved;
    if (bytes <= VARIABLE_BYTES || nodes.length === 0) return name;
  }
}

/** Returns the variable that has the node. */
export function variableOf({ variables }: Production, name: string): string {
  const found = Object.keys(variables).find((each) =>
    contentOf(variables[each]).nodes.some((one) => one.name === name),
  );
  return found ?? nodesVariable(1);
}

function contentOf(variable: unknown): { readonly nodes: readonly ConfiguredNode[] } {
  if (Array.isArray(variable)) return { nodes: variable as ConfiguredNode[] };
  return { nodes: [], ...(typeof variable === 'object' ? variable : {}) };
}

/** Returns whether a route with a wildcard, such as `*.example.com/*`, brings the host to the Worker. */
export function isCoveredByWildcard({ routes }: Production, host: string): boolean {
  return routes.some(({ pattern, custom_domain: custom = false }) => {
    const suffix = /^\*(?<suffix>\.[^/*]+)\/\*$/.exec(pattern)?.groups?.['suffix'];
    return !custom && suffix !== undefined && host.endsWith(suffix);
  });
}

/** Returns how many custom domains the zone of a host has. */
export function customDomainsOf({ routes }: Production, host: string): number {
  return routes.filter(({ pattern, custom_domain: custom }) => custom === true && zoneOf(pattern) === zoneOf(host))
    .length;
}

/** Checks that the zone of each host takes another custom domain. @throws Refusal */
export function requireCustomDomains(production: Production, hosts: readonly string[]): void {
  for (const host of hosts) {
    const count = customDomainsOf(production, host);
    if (count < CUSTOM_DOMAINS) continue;
    throw new Refusal(
      `${zoneOf(host)} has ${count} custom domains in wrangler.toml, and Cloudflare allows ${CUSTOM_DOMAINS} in a zone. ` +
        'Add the node under a domain of another zone with --domain, or serve the nodes by a route with a wildcard: ' +
        'docs/deploying.md, "More than 100 hosts".',
    );
  }
}

/** The zone that a host is likely in: its last two labels. Only an account knows its zones. */
export function zoneOf(host: string): string {
  return host.split('.').slice(-2).join('.');
}
