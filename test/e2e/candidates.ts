/**
 * The clients to run, in this order: `npm run e2e -- oras regctl` runs only these two, and `npm run e2e -- nodes` the
 * checks that need more hosts than central.
 */
import { checkPush } from './berth-push.ts';
import { checkBuildkit } from './buildkit.ts';
import { installedVersion } from './command.ts';
import { berth } from './clients/berth.ts';
import type { Client } from './clients/client.ts';
import { containersStorageClient } from './clients/containers-storage.ts';
import { crane } from './clients/crane.ts';
import { withCtr } from './clients/ctr.ts';
import { oras } from './clients/oras.ts';
import { regctl } from './clients/regctl.ts';
import { skopeo } from './clients/skopeo.ts';
import { checkCosign } from './cosign.ts';
import { checkGateway } from './gateway.ts';
import { GO_REMEDY, hasGo } from './go-program.ts';
import { checkHelm } from './helm.ts';
import { checkNodes } from './interchangeable.ts';
import { checkKernelReuse } from './kernel-reuse.ts';
import { checkMirrors } from './mirrors.ts';
import { checkReferrers } from './oras-referrers.ts';
import { checkChunks } from './regctl-chunks.ts';
import { Scenario } from './scenario.ts';
import type { Surroundings } from './surroundings.ts';
import type { TemporaryRegistry } from './temporary-registry.ts';
import { checkUnikraft } from './unikraft.ts';

/** A program or privilege that a client needs on this machine. */
interface Need {
  readonly isMet: () => Promise<boolean>;
  readonly remedy: string;
}

interface Candidate {
  readonly name: string;
  readonly needs: readonly Need[];
  /** @throws when the client cannot be installed or started */
  readonly run: (surroundings: Surroundings) => Promise<void>;
}

const packaged = (program: string, name = program): Need => ({
  isMet: async () => (await installedVersion(program)) !== undefined,
  remedy: `${program} is not installed: apt-get install ${name}.`,
});

const GO: Need = { isMet: hasGo, remedy: `The client is built from source. ${GO_REMEDY}` };
const ROOT: Need = {
  isMet: async () => process.getuid?.() === 0,
  remedy: 'Its daemon mounts file systems: run this as root.',
};

/** The needs of checks that try skopeo, podman, crane and containerd in turn. */
const FOUR_CLIENTS: readonly Need[] = [
  packaged('skopeo'),
  packaged('podman'),
  packaged('ctr', 'containerd'),
  packaged('containerd'),
  GO,
  ROOT,
];

/** Returns the checks of an image client: those that all clients share, and then those of this one only. */
function images<C extends Client>(
  open: (registry: TemporaryRegistry) => Promise<C>,
  besides?: (client: C, surroundings: Surroundings) => Promise<void>,
): Candidate['run'] {
  return async (surroundings) => {
    const client = await open(surroundings.registry);
    await checkImages(client, surroundings);
    await besides?.(client, surroundings);
  };
}

async function checkImages(client: Client, { registry, images: built, checks }: Surroundings): Promise<void> {
  console.log(`--- ${client.name} ${client.version}`);
  await new Scenario(client, registry, built, checks).run();
}

export const CANDIDATES: readonly Candidate[] = [
  { name: 'skopeo', needs: [packaged('skopeo')], run: images(skopeo) },
  {
    name: 'buildah',
    needs: [packaged('buildah')],
    run: images((registry) => containersStorageClient('buildah', registry)),
  },
  {
    name: 'podman',
    needs: [packaged('podman')],
    run: images((registry) => containersStorageClient('podman', registry)),
  },
  {
    name: 'crane',
    needs: [GO],
    run: images(crane, (_client, surroundings) =>
      checkKernelReuse(async (registry, use) => use(await crane(registry)), surroundings),
    ),
  },
  { name: 'oras', needs: [GO], run: images(oras, checkReferrers) },
  { name: 'regctl', needs: [GO], run: images(regctl, checkChunks) },
  {
    name: 'ctr',
    needs: [packaged('ctr', 'containerd'), packaged('containerd'), ROOT],
    run: async (surroundings) => {
      await withCtr(surroundings.registry, (client) => checkImages(client, surroundings));
      await checkKernelReuse(withCtr, surroundings);
    },
  },
  { name: 'helm', needs: [GO], run: checkHelm },
  { name: 'cosign', needs: [GO], run: checkCosign },
  { name: 'unikraft', needs: [], run: checkUnikraft },
  { name: 'nodes', needs: [packaged('skopeo'), GO], run: checkNodes },
  { name: 'mirrors', needs: FOUR_CLIENTS, run: checkMirrors },
  { name: 'berth', needs: [], run: images(berth, checkPush) },
  { name: 'gateway', needs: FOUR_CLIENTS, run: checkGateway },
  { name: 'buildkit', needs: [GO, packaged('runc'), ROOT], run: checkBuildkit },
];

/** Runs a client, or reports what it lacks. */
export async function runCandidate({ name, needs, run }: Candidate, surroundings: Surroundings): Promise<void> {
  for (const { isMet, remedy } of needs) {
    if (!(await isMet())) return surroundings.checks.missing(name, remedy);
  }
  try {
    await run(surroundings);
  } catch (error) {
    surroundings.checks.fail(`${name}: install`, String(error));
  }
}
