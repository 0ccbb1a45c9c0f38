/** Describes a deployment to operators: its registries, its secrets, and the state of its stores. */
import type { Config } from '../config.ts';
import { namespaceName, type StoreName } from '../namespaces/namespace.ts';
import { missingMigrations } from '../stores/applied-migrations.ts';
import { healthOf, type StoreHealth } from '../stores/health.ts';
import { composeStores } from './compose.ts';

interface DeployedRegistry {
  /** `central`, or the name of a node. */
  readonly name: string;
  /** Its hosts, as the configuration writes them: `index.example.com`, `localhost:8787` or `:8787`. */
  readonly hosts: string[];
  readonly store: StoreName;
}

interface DeployedStore extends StoreHealth {
  readonly store: StoreName;
  /** The migrations of this version of the code that its database lacks; null if the database does not answer. */
  readonly missing_migrations: string[] | null;
}

/** Returns the registries, central first. */
export function registriesOf({ hosts, central, nodes }: Config): DeployedRegistry[] {
  return [central, ...nodes].map((namespace) => {
    const name = namespaceName(namespace);
    const served = hosts.filter((each) => namespaceName(each.namespace) === name);
    return { name, hosts: served.map(({ host }) => host), store: namespace.store };
  });
}

/** Returns the state of every store, central first. */
export function storesOf(config: Config, env: object): Promise<DeployedStore[]> {
  return Promise.all(
    composeStores(config, env).map(async (store) => {
      const [{ database, bucket }, missing] = await Promise.all([
        healthOf(store),
        missingMigrations(store.database).catch(() => null),
      ]);
      return { store: store.name, database, bucket, missing_migrations: missing };
    }),
  );
}

/** Returns the names of the secrets that are set. `SIGNING_KEY` always is: without it no request gets this far. */
export function secretsOf({ signingKeys, bootstrapSecret, analytics }: Config): string[] {
  return [
    'SIGNING_KEY',
    ...(signingKeys.length > 1 ? ['SIGNING_KEY_SECONDARY'] : []),
    ...(bootstrapSecret === undefined ? [] : ['BOOTSTRAP_SECRET']),
    ...(analytics === undefined ? [] : ['ANALYTICS_TOKEN']),
  ];
}
