/** Images of all shapes that registries hold. */
import { randomBytes } from 'node:crypto';
import { sha256 } from './push.ts';
import { type MemoryUpstream, OCI_IMAGE, OCI_INDEX, sha512 } from './upstream.ts';

const DOCKER = 'application/vnd.docker.distribution.manifest.v2+json';
const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json';
const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar.gzip';
const FOREIGN = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';

/** Tags that {@link addShapes} adds each time. */
export const SHAPES = 7;

/** Adds plain images to five repositories below a prefix. */
export function addPlain(upstream: MemoryUpstream, prefix: string, images: number): void {
  for (let i = 0; i < images; i++) upstream.image(`${prefix}/plain${i % 5}`, [`t${i}`], [2000 + i, 30_000]);
}

/** Adds an image of each other shape to four repositories below a prefix. @param mark ends each tag */
export function addShapes(upstream: MemoryUpstream, prefix: string, mark = ''): void {
  const indexes = `${prefix}/index`;
  const index = upstream.index(indexes, [`multi${mark}`], ['linux/amd64', 'linux/arm64', 'linux/s390x']);
  upstream.index(indexes, [`pair${mark}`], ['linux/amd64', 'linux/arm64']);
  // A signature of the index, and one of the signature.
  const signature = upstream.image(indexes, [], [500], { subject: index, artifactType: 'application/x.sig' });
  upstream.image(indexes, [], [500], { subject: signature, artifactType: 'application/x.sig' });
  addAttested(upstream, indexes, `attested${mark}`);
  addDocker(upstream, `${prefix}/docker`, mark);
  const layer = randomBytes(1000);
  const layers = [upstream.blob(layer, undefined, sha512(layer))];
  const config = upstream.blob(Buffer.from('{}'));
  upstream.document(`${prefix}/sha512`, OCI_IMAGE, { config, layers }, [`long${mark}`], sha512);
  upstream.image(`${prefix}/empty`, [`none${mark}`], []);
}

/** Adds an image with the attestation that BuildKit gives it. */
function addAttested(upstream: MemoryUpstream, repository: string, tag: string): void {
  const image = upstream.image(repository, []);
  const attestation = upstream.image(repository, [], [300]);
  const annotations = {
    'vnd.docker.reference.type': 'attestation-manifest',
    'vnd.docker.reference.digest': image.digest,
  };
  const manifests = [
    { ...image, platform: { os: 'linux', architecture: 'amd64' } },
    { ...attestation, platform: { os: 'unknown', architecture: 'unknown' }, annotations },
  ];
  upstream.document(repository, OCI_INDEX, { manifests }, [tag]);
}

/** Adds a docker image with a layer of its own and a foreign one, and a list of it. */
function addDocker(upstream: MemoryUpstream, repository: string, mark: string): void {
  const config = upstream.blob(randomBytes(100), DOCKER_CONFIG);
  const layer = upstream.blob(randomBytes(1000), DOCKER_LAYER);
  const urls = ['https://a.example/b'];
  const foreign = { mediaType: FOREIGN, digest: sha256(randomBytes(10)), size: 12_345, urls };
  const docker = upstream.document(repository, DOCKER, { config, layers: [foreign, layer] }, [`schema2${mark}`]);
  const manifests = [{ ...docker, platform: { os: 'windows', architecture: 'amd64' } }];
  upstream.document(repository, DOCKER_LIST, { manifests }, [`list${mark}`]);
}
