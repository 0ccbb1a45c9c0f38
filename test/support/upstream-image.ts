/** An image of an upstream, for tests that answer in place of the network. */
import { digestOf } from '../../src/oci/digest.ts';

const OCI_IMAGE = 'application/vnd.oci.image.manifest.v1+json';

export interface UpstreamImage {
  readonly tag: string;
  readonly digest: string;
  /** The digests of its layers. */
  readonly layers: readonly string[];
  /** How often each blob was sent, by digest. */
  readonly sent: ReadonlyMap<string, number>;
  readonly answer: (url: URL, method: string) => Response;
}

/** Makes an image with small layers, each of which differs. */
export async function upstreamImage(repository: string, tag: string, layers: number): Promise<UpstreamImage> {
  const contents = Array.from({ length: layers + 1 }, (_, i) => bytesOf(`${repository}:${tag} ${i}`));
  const digests = await Promise.all(contents.map((content) => digestOf('sha256', content)));
  const blobs = new Map(contents.map((content, i) => [digests[i] as string, content]));
  const describe = (i: number, mediaType: string): object => ({
    mediaType,
    digest: digests[i],
    size: contents[i]?.byteLength,
  });
  const manifest = bytesOf(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_IMAGE,
      config: describe(0, 'application/vnd.oci.image.config.v1+json'),
      layers: contents.slice(1).map((_, i) => describe(i + 1, 'application/vnd.oci.image.layer.v1.tar')),
    }),
  );
  const digest = await digestOf('sha256', manifest);
  const sent = new Map<string, number>();
  return {
    tag,
    digest,
    layers: digests.slice(1),
    sent,
    answer: ({ pathname }, method) => {
      if (pathname === `/v2/${repository}/tags/list`) return Response.json({ tags: [tag] });
      if ([tag, digest].some((reference) => pathname === `/v2/${repository}/manifests/${reference}`)) {
        const headers = { 'Content-Type': OCI_IMAGE, 'Docker-Content-Digest': digest };
        return new Response(method === 'HEAD' ? null : manifest, { headers });
      }
      const of = pathname.split('/').at(-1) ?? '';
      const content = blobs.get(of);
      if (content === undefined) return new Response(null, { status: 404 });
      sent.set(of, (sent.get(of) ?? 0) + 1);
      return new Response(content);
    },
  };
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new TextEncoder().encode(text));
}
