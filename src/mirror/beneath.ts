/** The registry in which a mirror's Durable Objects store, through the operations of a push. */
import { SigningKeys } from '../auth/signing-keys.ts';
import type { Config } from '../config.ts';
import type { Namespace } from '../namespaces/namespace.ts';
import { composeMeteredStores, composeRegistry } from '../registry/compose.ts';
import type { Registry } from '../registry/registry.ts';
import { composeQueues } from '../replication/queues.ts';
import type { StatementMeter } from '../stores/statement-meter.ts';
import type { Store } from '../stores/store.ts';

export async function registryBeneath(
  ctx: DurableObjectState,
  env: object,
  config: Config,
  namespace: Namespace,
  meter: StatementMeter,
): Promise<Registry> {
  const defer = (work: Promise<unknown>): void => ctx.waitUntil(work);
  const signer = await SigningKeys.import(config.signingKeys);
  const queues = composeQueues(config, env, defer);
  return composeRegistry({ config, env, signer, now: () => Date.now(), defer, queues, meter }, namespace);
}

/** Returns the store of a namespace. */
export function storeBeneath(env: object, config: Config, { store }: Namespace, meter: StatementMeter): Store {
  const found = composeMeteredStores(config, env, meter).find(({ name }) => name === store);
  if (found === undefined) throw new Error(`there is no store ${store}`);
  return found;
}
