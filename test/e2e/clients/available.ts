import type { Checks } from '../checks.ts';
import { isInstalled } from '../command.ts';
import { GO_REMEDY, hasGo } from '../go-program.ts';
import type { TemporaryRegistry } from '../temporary-registry.ts';
import type { Client } from './client.ts';
import { containersStorageClient } from './containers-storage.ts';
import { crane } from './crane.ts';
import { skopeo } from './skopeo.ts';

interface Candidate {
  readonly name: string;
  readonly isAvailable: () => Promise<boolean>;
  readonly remedy: string;
  readonly open: (registry: TemporaryRegistry) => Promise<Client>;
}

const packaged = (name: string): Pick<Candidate, 'name' | 'isAvailable' | 'remedy'> => ({
  name,
  isAvailable: () => isInstalled(name),
  remedy: `${name} is not installed: apt-get install ${name}, or see https://github.com/containers/${name}.`,
});

const CANDIDATES: readonly Candidate[] = [
  { ...packaged('skopeo'), open: skopeo },
  { ...packaged('buildah'), open: (registry) => containersStorageClient('buildah', registry) },
  { ...packaged('podman'), open: (registry) => containersStorageClient('podman', registry) },
  { name: 'crane', isAvailable: hasGo, remedy: `crane is built from its source. ${GO_REMEDY}`, open: crane },
];

/** The clients of this machine; those that it lacks are reported. */
export async function availableClients(registry: TemporaryRegistry, checks: Checks): Promise<Client[]> {
  const clients: Client[] = [];
  for (const { name, isAvailable, remedy, open } of CANDIDATES) {
    if (!(await isAvailable())) {
      checks.missing(name, remedy);
      continue;
    }
    try {
      clients.push(await open(registry));
    } catch (error) {
      checks.fail(`${name}: install`, String(error));
    }
  }
  return clients;
}
