/** `wrangler.toml`'s production environment: read, checked as the Worker would, and changed without touching the rest. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { bucketBinding, databaseBinding, registry } from '../config.ts';

export const WRANGLER_TOML = fileURLToPath(new URL('../../wrangler.toml', import.meta.url));
export const ENVIRONMENT = 'production';

/** What a command will not do; its message says why, and what can be done. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
}

export interface ConfiguredNode {
  readonly name: string;
  readonly hosts: readonly string[];
  readonly store: string;
  readonly region: string;
}

/** The arrays in which a node has elements. */
export interface Production {
  readonly central: { readonly hosts: readonly string[]; readonly store: string };
  readonly nodes: readonly ConfiguredNode[];
  readonly routes: readonly { readonly pattern: string; readonly custom_domain?: boolean }[];
  readonly databases: readonly Database[];
  readonly buckets: readonly { readonly binding: string; readonly bucket_name: string }[];
}

export interface Database {
  readonly binding: string;
  readonly database_name: string;
  readonly database_id: string;
  readonly migrations_dir: string;
}

export interface WranglerToml {
  readonly file: string;
  /** The folder in which wrangler and npm run. */
  readonly folder: string;
  readonly text: string;
  readonly production: Production;
}

/** @throws Refusal if it has no production environment that the Worker could serve */
export async function readWranglerToml(file: string): Promise<WranglerToml> {
  const text = readFileSync(file, 'utf8');
  const raw = await parse(text);
  requireServable(raw);
  return { file, folder: dirname(file), text, production: productionOf(raw) };
}

/**
 * Checks that a changed text means what the old one did but for the changed arrays, and that the Worker takes it.
 * @throws Refusal
 */
export async function requireMeaning(current: WranglerToml, text: string, meant: Production): Promise<void> {
  const [before, after] = await Promise.all([parse(current.text), parse(text)]);
  if (!isDeepStrictEqual(productionOf(after), plain(meant)) || !isDeepStrictEqual(withoutArrays(after), withoutArrays(before))) {
    throw new Refusal(
      `${current.file} is written in a way that this command cannot change: nodes, routes, d1_databases and r2_buckets of ` +
        `[env.${ENVIRONMENT}] have to be [[tables]]. Change it by hand.`,
    );
  }
  requireServable(after);
}

/** Whether no database has been created: `npm run deploy` deploys nothing then. */
export function isUnset(databaseId: string | undefined): boolean {
  return databaseId === undefined || /^[0-]+$/.test(databaseId);
}

export function writeWranglerToml(current: WranglerToml, text: string): void {
  writeFileSync(current.file, text);
}

interface RawEnvironment {
  readonly vars?: { readonly REGISTRY?: { readonly central: Production['central']; readonly nodes?: readonly ConfiguredNode[] } };
  readonly routes?: Production['routes'];
  readonly d1_databases?: readonly Database[];
  readonly r2_buckets?: Production['buckets'];
}

interface Raw {
  readonly env?: Readonly<Record<string, RawEnvironment>>;
}

/** wrangler reads files only, so the text goes through one. */
async function parse(text: string): Promise<Raw> {
  const { experimental_readRawConfig } = await import('wrangler');
  const folder = mkdtempSync(join(tmpdir(), 'berth-toml-'));
  try {
    const copy = join(folder, 'wrangler.toml');
    writeFileSync(copy, text);
    return plain(experimental_readRawConfig({ config: copy }).rawConfig) as Raw;
  } catch (error) {
    throw new Refusal(`wrangler.toml cannot be parsed: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function productionOf(raw: Raw): Production {
  const { vars, routes = [], d1_databases: databases = [], r2_buckets: buckets = [] } = raw.env?.[ENVIRONMENT] ?? {};
  const { central = { hosts: [], store: '' }, nodes = [] } = vars?.REGISTRY ?? {};
  return { central, nodes, routes, databases, buckets };
}

function withoutArrays(raw: Raw): unknown {
  const { vars, routes: _, d1_databases: __, r2_buckets: ___, ...others } = raw.env?.[ENVIRONMENT] ?? {};
  const { nodes: ____, ...rest } = vars?.REGISTRY ?? {};
  return { ...raw, env: { ...raw.env, [ENVIRONMENT]: { ...others, vars: { ...vars, REGISTRY: rest } } } };
}

/** The Worker's own judgement of what it serves, and that each store is bound. */
function requireServable(raw: Raw): void {
  const { vars, d1_databases: databases = [], r2_buckets: buckets = [] } = raw.env?.[ENVIRONMENT] ?? {};
  const parsed = registry.safeParse(vars?.REGISTRY);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const path = ['REGISTRY', ...(issue?.path ?? [])].join('.');
    throw new Refusal(`[env.${ENVIRONMENT}] of wrangler.toml would be refused: ${path}: ${issue?.message}`);
  }
  const bound = new Set([...databases, ...buckets].map(({ binding }) => binding));
  const stores = [parsed.data.central, ...parsed.data.nodes].map(({ store }) => store);
  const missing = stores.flatMap((store) => [databaseBinding(store), bucketBinding(store)]).find((name) => !bound.has(name));
  if (missing !== undefined) throw new Refusal(`[env.${ENVIRONMENT}] of wrangler.toml lacks a binding: ${missing}`);
}

/** Without the prototypes and undefined values by which equal configurations differ. */
function plain<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}
