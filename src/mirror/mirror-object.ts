import type { Namespace } from '../namespaces/namespace.ts';
import type { OrganizationName } from '../oci/reference.ts';
import type { OrganizationMirror } from './durable-object.ts';

/** Returns the Durable Object of a mirror at a store, which is placed near it. */
export function mirrorOf(
  env: object,
  organization: OrganizationName,
  namespace: Namespace,
): DurableObjectStub<OrganizationMirror> {
  const { ORGANIZATION_MIRROR: all } = env as { ORGANIZATION_MIRROR: DurableObjectNamespace<OrganizationMirror> };
  const id = all.idFromName(`${namespace.store}/${organization}`);
  const region = namespace.kind === 'node' ? (namespace.region as DurableObjectLocationHint) : undefined;
  return all.get(id, region === undefined ? {} : { locationHint: region });
}
