/**
 * The invariants that hold after every step, even if an operation was killed in it. The numbers are those of the
 * design.
 *
 * 1. Everything that clients were told is alive is alive, and everything that they were told is gone is gone.
 * 4. No row of a store's own bytes names an object that is missing or has another digest.
 * 5. The blobs of every live manifest can be read at every host that shows it, and so can every promised blob.
 *
 * Also, `tags.visible` agrees with the versions.
 */
import type { RepositoryName } from '../../../../src/oci/reference.ts';
import { isAlive } from '../../../../src/stores/versions.ts';
import type { Content } from '../../../replication/content.ts';
import type { Oracle } from '../../../replication/oracle.ts';
import { itemAt } from '../../../replication/reads.ts';
import { HOST_NAMES, type HostName } from '../../../support/hosts.ts';
import { requireVisible } from '../../../support/visible.ts';
import type { World } from './isolates.ts';
import { MANIFESTS, TAGS } from './operations.ts';
import type { Promises } from './promises.ts';
import type { StoresSeen } from './stores-seen.ts';

interface Facts {
  readonly seen: StoresSeen;
  readonly oracle: Oracle;
  readonly promises: Promises;
  readonly content: Content;
}

/** @throws Error that names the broken invariant */
export function checkStores(facts: Facts, { now }: World): void {
  const { seen, promises, content, oracle } = facts;
  for (const host of HOST_NAMES) {
    checkObjects(seen, host);
    requireVisible(host, seen.store(host).wronglyVisible);
    for (const [repository, name] of content.repositories.entries()) {
      for (const manifest of MANIFESTS) checkManifest(facts, host, repository, name, manifest);
      for (const tag of TAGS) {
        const digest = seen.tag(host, name, tag);
        const manifest = digest === null ? null : content.manifests.findIndex((one) => one.digest === digest);
        if (!oracle.tagMayBe(repository, tag, manifest, oracle.known(host, true))) {
          throw new Error(`${tag} is ${manifest} at ${host}\n${oracle.explain(repository)}`);
        }
      }
    }
  }
  for (const { host, repository, digest } of promises.all(now)) {
    if (!seen.isReadable(host, itemAt(content.repositories, repository), digest)) {
      throw new Error(
        `blob ${nameOf(content, digest)} of repository ${repository} was promised at ${host}, and is lost`,
      );
    }
  }
}

function checkObjects(seen: StoresSeen, host: HostName): void {
  for (const { digest, store, key } of seen.store(host).locations) {
    if (store !== host) continue;
    const found = seen.object(store, key);
    if (found !== digest)
      throw new Error(`${host} names an object for ${digest} that ${found === undefined ? 'is gone' : `is ${found}`}`);
  }
}

function checkManifest(
  { seen, oracle, content }: Facts,
  host: HostName,
  repository: number,
  name: RepositoryName,
  manifest: number,
): void {
  const { digest, manifest: document } = itemAt(content.manifests, manifest);
  const shown = seen.shown(host, name, digest);
  const alive = isAlive(shown);
  if (!oracle.manifestMayBe(repository, manifest, alive, oracle.known(host, !alive))) {
    throw new Error(`manifest ${manifest} is ${alive ? 'alive' : 'gone'} at ${host}\n${oracle.explain(repository)}`);
  }
  // Another host may have deleted the manifest after the state that this host shows.
  const { deleted } = seen.lifecycle(HOST_NAMES, name, digest);
  const lifecycles = [shown, seen.lifecycle([host, 'central'], name, digest)];
  if (!lifecycles.some((lifecycle) => isAlive(lifecycle) && lifecycle.created > deleted)) return;
  for (const blob of document.requiredBlobs) {
    if (!seen.isReadable(host, name, blob)) {
      throw new Error(
        `blob ${nameOf(content, blob)} of live manifest ${manifest} of repository ${repository} is lost at ${host}`,
      );
    }
  }
}

function nameOf({ blobs }: Content, digest: string): number {
  return blobs.findIndex((blob) => blob.digest === digest);
}
