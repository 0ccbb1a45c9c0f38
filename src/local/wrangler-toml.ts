/** Reads the production environment of `wrangler.toml`, and checks it as the Worker would. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bucketBinding, databaseBinding, registry } from '../config.ts';
import { gatherNodes, nodesVariable, pathInVariables, VARIABLE_BYTES, variableBytes } from '../node-variables.ts';

export const WRANGLER_TOML = fileURLToPath(new URL('../../wrangler.toml', import.meta.url));
export const ENVIRONMENT = 'production';

/** The error for a command that refuses. The message says why, and what to do. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
}

export interface ConfiguredNode {
  readonly name: string;
  readonly hosts: readonly string[];
  readonly store: string;
  readonly region: string;
}

/** Central, and the arrays that a node has elements in. */
export interface Production {
  readonly central: { readonly hosts: readonly string[]; readonly store: string };
  readonly nodes: readonly ConfiguredNode[];
  readonly routes: readonly { readonly pattern: string; readonly custom_domain?: boolean }[];
  readonly databases: readonly Database[];
  readonly buckets: readonly { readonly binding: string; readonly bucket_name: string }[];
  /** The variables of the Worker, by their names. */
  readonly variables: Readonly<Record<string, unknown>>;
  /** The id of the account, if the file has it. */
  readonly account: string | undefined;
}

export interface Database {
  readonly binding: string;
  readonly database_name: string;
  readonly database_id: string;
  readonly migrations_dir: string;
}

export interface WranglerToml {
  readonly file: string;
  /** The folder to run wrangler and npm in. */
  readonly folder: string;
  readonly text: string;
  readonly production: Production;
}

/** Reads the file. @throws Refusal if the Worker could not serve its production environment */
export async function readWranglerToml(file: string): Promise<WranglerToml> {
  const text = readFileSync(file, 'utf8');
  const raw = await parse(text);
  requireServable(raw);
  return { file, folder: dirname(file), text, production: productionOf(raw) };
}

/** Checks that the Worker could serve a changed text, and returns its production environment. @throws Refusal */
export async function requireGoodToml(text: string): Promise<Production> {
  const raw = await parse(text);
  requireServable(raw);
  const production = productionOf(raw);
  requireSmallVariables(production);
  return production;
}

/** Checks that Cloudflare takes each variable. @throws Refusal */
export function requireSmallVariables({ variables }: Production): void {
  for (const [name, value] of Object.entries(variables)) {
    const bytes = variableBytes(value);
    if (bytes <= VARIABLE_BYTES) continue;
    throw new Refusal(
      `The variable ${name} in [env.${ENVIRONMENT}] of wrangler.toml has ${bytes} bytes as JSON, and Cloudflare takes ` +
        `${VARIABLE_BYTES}. Move some of its nodes to [[env.${ENVIRONMENT}.vars.${nodesVariable(2)}]], ` +
        `[[env.${ENVIRONMENT}.vars.${nodesVariable(3)}]] and so on: the Worker reads the nodes of all of them.`,
    );
  }
}

/** Returns whether the database has yet to be created. `npm run deploy` refuses to deploy then. */
export function isUnset(databaseId: string | undefined): boolean {
  return databaseId === undefined || /^[0-]+$/.test(databaseId);
}

export function writeWranglerToml(current: WranglerToml, text: string): void {
  writeFileSync(current.file, text);
}

interface RawEnvironment {
  readonly account_id?: string;
  readonly vars?: Readonly<Record<string, unknown>>;
  readonly routes?: Production['routes'];
  readonly d1_databases?: readonly Database[];
  readonly r2_buckets?: Production['buckets'];
}

interface Raw {
  readonly account_id?: string;
  readonly env?: Readonly<Record<string, RawEnvironment>>;
}

/** Parses the text. wrangler only reads files, so the text goes through a temporary one. */
async function parse(text: string): Promise<Raw> {
  const { experimental_readRawConfig } = await import('wrangler');
  const folder = mkdtempSync(join(tmpdir(), 'berth-toml-'));
  try {
    const copy = join(folder, 'wrangler.toml');
    writeFileSync(copy, text);
    return experimental_readRawConfig({ config: copy }).rawConfig as Raw;
  } catch (error) {
    throw new Refusal(`cannot parse wrangler.toml: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function productionOf(raw: Raw): Production {
  const environment = raw.env?.[ENVIRONMENT] ?? {};
  const { vars = {}, routes = [], d1_databases: databases = [], r2_buckets: buckets = [] } = environment;
  const { REGISTRY } = gatherNodes(vars) as { REGISTRY?: Partial<Pick<Production, 'central' | 'nodes'>> };
  const { central = { hosts: [], store: '' }, nodes = [] } = REGISTRY ?? {};
  return {
    central,
    nodes,
    routes,
    databases,
    buckets,
    variables: vars,
    account: environment.account_id ?? raw.account_id,
  };
}

/** Checks the configuration as the Worker does, and that each store has its bindings. @throws Refusal */
function requireServable(raw: Raw): void {
  const { vars = {}, d1_databases: databases = [], r2_buckets: buckets = [] } = raw.env?.[ENVIRONMENT] ?? {};
  const parsed = registry.safeParse((gatherNodes(vars) as { REGISTRY?: unknown }).REGISTRY);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const path = pathInVariables(vars, ['REGISTRY', ...(issue?.path ?? [])]);
    throw new Refusal(`The Worker would refuse [env.${ENVIRONMENT}] of wrangler.toml: ${path}: ${issue?.message}`);
  }
  const bound = new Set([...databases, ...buckets].map(({ binding }) => binding));
  const stores = [parsed.data.central, ...parsed.data.nodes].map(({ store }) => store);
  const missing = stores
    .flatMap((store) => [databaseBinding(store), bucketBinding(store)])
    .find((name) => !bound.has(name));
  if (missing !== undefined) throw new Refusal(`[env.${ENVIRONMENT}] of wrangler.toml lacks a binding: ${missing}`);
}
