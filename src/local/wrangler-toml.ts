/** `wrangler.toml`'s production environment: read, and checked as the Worker would. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
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

/** Checks that the Worker would take a changed text. @throws Refusal */
export async function requireGoodToml(text: string): Promise<void> {
  requireServable(await parse(text));
}

/** Whether no database has been created: `npm run deploy` deploys nothing then. */
export function isUnset(databaseId: string | undefined): boolean {
  return databaseId === undefined || /^[0-]+$/.test(databaseId);
}

export function writeWranglerToml(current: WranglerToml, text: string): void {
  writeFileSync(current.file, text);
}

interface RawEnvironment {
  readonly vars?: {
    readonly REGISTRY?: { readonly central: Production['central']; readonly nodes?: readonly ConfiguredNode[] };
  };
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
    return experimental_readRawConfig({ config: copy }).rawConfig as Raw;
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
  const missing = stores
    .flatMap((store) => [databaseBinding(store), bucketBinding(store)])
    .find((name) => !bound.has(name));
  if (missing !== undefined) throw new Refusal(`[env.${ENVIRONMENT}] of wrangler.toml lacks a binding: ${missing}`);
}
