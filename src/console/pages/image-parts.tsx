/** The parts of an image: the platforms of an index, or layers, with the images that share them. */
import type { FC } from 'hono/jsx';
import type { SharedBlob } from '../answers.ts';
import { Bytes, Digest, FirstRows, shortDigest } from '../components.tsx';
import { platformOf, type ShownManifest } from '../manifest.ts';
import { imagePath, titleOf, withQuery } from '../paths.ts';

interface PartsProps {
  readonly repository: string;
  readonly reference: string;
  readonly manifest: ShownManifest;
  /** Other images that have a layer, by the layer's digest. */
  readonly shared: ReadonlyMap<string, SharedBlob['images']>;
}

export const Parts: FC<PartsProps> = ({ repository, reference, manifest, shared }) => {
  if (manifest.manifests) {
    return (
      <>
        <h2>Platforms</h2>
        <FirstRows
          caption="Manifests of the index"
          columns={['Platform', 'Digest', 'Size']}
          of={manifest.manifests}
          row={({ platform, digest, size }) => [
            platformOf(platform),
            <Digest of={digest} href={imagePath(repository, digest)} />,
            <Bytes of={size} />,
          ]}
          empty="The index is empty."
        />
      </>
    );
  }
  const layers = manifest.layers ?? [];
  const largest = Math.max(1, ...layers.map(({ size }) => size));
  return (
    <>
      <h2>Layers</h2>
      <FirstRows
        caption="Layers, the lowest first"
        columns={['Digest', 'Type', 'Size', 'Share of the largest', 'Also in']}
        of={layers}
        row={({ digest, size, mediaType = '' }) => [
          <Digest
            of={digest}
            href={
              isReadable(mediaType) ? withQuery(`${imagePath(repository, reference)}/contents`, { digest }) : undefined
            }
          />,
          mediaType,
          <Bytes of={size} />,
          <Bar share={size / largest} isShared={shared.has(digest)} />,
          <AlsoIn images={shared.get(digest) ?? []} />,
        ]}
        empty="The image has no layers."
      />
    </>
  );
};

/** Tells whether a layer of this type is a document, such as a signature, an SBOM or an attestation. */
function isReadable(mediaType: string): boolean {
  return /^text\/|[/+]json$/.test(mediaType);
}

/** The most images with the same layer that are named. */
const NAMED = 3;

/** Links to the images that share a layer. */
const AlsoIn: FC<{ images: SharedBlob['images'] }> = ({ images }) => {
  const named = images.slice(0, NAMED).map(({ repository, digest, tag }) => {
    const reference = tag ?? digest;
    return <a href={imagePath(repository, reference)}>{titleOf(repository, tag ?? shortDigest(digest))}</a>;
  });
  const all = [...named, ...(images.length > NAMED ? ['and others'] : [])];
  return <>{all.flatMap((each, i) => (i === 0 ? [each] : [', ', each]))}</>;
};

const Bar: FC<{ share: number; isShared: boolean }> = ({ share, isShared }) => (
  <svg width="120" height="10" role="img" aria-label={`${Math.round(share * 100)} %`}>
    <rect class="bar-ground" width="120" height="10" />
    <rect class={isShared ? 'bar shared' : 'bar'} width={Math.max(1, Math.round(120 * share))} height="10" />
  </svg>
);
