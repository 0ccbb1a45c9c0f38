/** The registry that a mirror's Durable Objects store in. They write through the operations of a push. */
import { SigningKeys } from '../auth/signing-keys.ts';
import type { Config } from '../config.ts';
import type { Namespace } from '../namespaces/namespace.ts';
import { composeRegistry } from '../registry/compose.ts';
import type { Registry } from '../registry/registry.ts';
import { composeQueues } from '../replication/queues.ts';
import type { StatementMeter } from '../stores/statement-meter.ts';

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
