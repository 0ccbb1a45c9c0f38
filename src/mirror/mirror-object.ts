/** The Durable Objects of mirrors. They are placed near the store in which they store. */
import type { Namespace } from '../namespaces/namespace.ts';
import type { OrganizationName } from '../oci/reference.ts';
import type { BlobWanted } from './answers.ts';
import type { MirrorBlob } from './blob.ts';
import type { OrganizationMirror } from './durable-object.ts';

interface Bindings {
  readonly ORGANIZATION_MIRROR: DurableObjectNamespace<OrganizationMirror>;
  readonly MIRROR_BLOB: DurableObjectNamespace<MirrorBlob>;
}

/** Returns what all environments of an isolate share. Each page of the console has an environment of its own. */
export function sharedByEnvironments(env: object): object {
  return (env as Bindings).ORGANIZATION_MIRROR;
}

/** Returns the object of a mirror at the store of a namespace. */
export function mirrorObjectOf(
  env: object,
  organization: OrganizationName,
  namespace: Namespace,
): DurableObjectStub<OrganizationMirror> {
  const { ORGANIZATION_MIRROR: all } = env as Bindings;
  return all.get(all.idFromName(`${namespace.store}/${organization}`), near(namespace));
}

/** Returns the object of a blob that arrives at the store of a namespace. Each change of the mirror has another one. */
export function blobObjectOf(env: object, wanted: BlobWanted): DurableObjectStub<MirrorBlob> {
  const { MIRROR_BLOB: all } = env as Bindings;
  const { namespace, mirror, repository, digest } = wanted;
  return all.get(all.idFromName(`${namespace.store} ${repository} ${digest} ${mirror.changedAt}`), near(namespace));
}

function near(namespace: Namespace): DurableObjectNamespaceGetDurableObjectOptions {
  return namespace.kind === 'node' && namespace.region !== undefined
    ? { locationHint: namespace.region as DurableObjectLocationHint }
    : {};
}
