/** The difference of two images of a repository, such as two writes of a tag. */
import { Hono } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { Child, FC } from 'hono/jsx';
import { digestOrUndefined } from '../../oci/digest.ts';
import { Bytes, counted, Digest, Facts, FirstRows, inUnits, Lines, State, Table } from '../components.tsx';
import type { ConsoleContext, ConsoleEnv } from '../context.ts';
import { type Change, changesOf, sidesOf } from '../difference.ts';
import { readConfig, type ShownConfig } from '../image-config.ts';
import { Page } from '../layout.tsx';
import { type Descriptor, MAX_SHOWN_BYTES, platformOf, readManifest, type ShownManifest } from '../manifest.ts';
import { imagePath, imageRoute, isTag, splitImage, withQuery } from '../paths.ts';
import { ifSoon, type RegistryClient, unless } from '../registry-client.ts';

export function differencePages(): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();

  pages.get(imageRoute('/difference'), async (c) => {
    const reader = c.get('reader');
    const { repository, reference } = splitImage(c.req.param('image') ?? '');
    const [from, to] = [digestIn(c, 'from'), digestIn(c, 'to')];
    const images = await Promise.all([from, to].map((digest) => readImage(reader.registry, repository, digest)));
    const path = imagePath(repository, reference);
    return c.html(
      <Page title={`Two images of ${repository}`} reader={reader} section="/images">
        <Facts
          of={[
            ['From', <Digest of={from} href={imagePath(repository, from)} />],
            ['To', <Digest of={to} href={imagePath(repository, to)} />],
          ]}
        />
        {from === to ? <p>Both are the same image.</p> : <Difference path={path} images={images} />}
        <p>
          <a href={isTag(reference) ? `${path}/history` : path}>
            Back to {isTag(reference) ? `the history of ${reference}` : 'the image'}
          </a>
        </p>
      </Page>,
    );
  });
  return pages;
}

/** @throws HTTPException */
function digestIn(c: ConsoleContext, name: 'from' | 'to'): string {
  const digest = digestOrUndefined(c.req.query(name));
  if (digest === undefined) throw new HTTPException(400, { message: `choose a write to compare ${name}` });
  return digest;
}

interface Image {
  readonly digest: string;
  readonly manifest: ShownManifest;
  /** Undefined if it can't be shown. */
  readonly config: ShownConfig | undefined;
}

interface NoImage {
  readonly digest: string;
  /** The end of a sentence that begins with the manifest. */
  readonly problem: string;
}

/** @throws RegistryError */
async function readImage(registry: RegistryClient, repository: string, digest: string): Promise<Image | NoImage> {
  const found = await unless(404, readManifest(registry, repository, digest));
  if (found === undefined)
    return { digest, problem: 'is not at central: it was deleted, or a node has yet to announce it' };
  const manifest = found.shown;
  if (manifest === undefined)
    return { digest, problem: `is larger than ${MAX_SHOWN_BYTES / 1024} KiB, so this page cannot compare it` };
  const config = manifest.config && (await ifSoon(readConfig(registry, repository, manifest.config)));
  return { digest, manifest, config };
}

const Difference: FC<{ path: string; images: readonly (Image | NoImage)[] }> = ({ path, images }) => {
  const [from, to] = images.filter((image) => 'manifest' in image);
  if (from === undefined || to === undefined) {
    return (
      <>
        {images.map(
          (image) =>
            'problem' in image && (
              <p class="problem">
                The manifest <Digest of={image.digest} /> {image.problem}.
              </p>
            ),
        )}
      </>
    );
  }
  const [ofFrom, ofTo] = [from.manifest.manifests, to.manifest.manifests];
  if (ofFrom && ofTo) return <Platforms path={path} from={ofFrom} to={ofTo} />;
  if (ofFrom ?? ofTo)
    return <p>One is an index of images, and the other a single image. Compare it with an image of the index.</p>;
  return (
    <>
      <Layers from={from.manifest.layers ?? []} to={to.manifest.layers ?? []} />
      <h2>Configuration</h2>
      {from.config && to.config ? (
        <Configs from={from.config} to={to.config} />
      ) : (
        <p class="empty">
          The configs cannot be compared: one of them is not the config of an image, is too large, or cannot be read
          now.
        </p>
      )}
    </>
  );
};

const Platforms: FC<{ path: string; from: readonly Descriptor[]; to: readonly Descriptor[] }> = ({
  path,
  from,
  to,
}) => (
  <>
    <h2>Platforms</h2>
    <FirstRows
      caption="Manifests of the two indexes"
      columns={['Platform', 'From', 'To', 'Difference']}
      of={sidesOf(byPlatform(from), byPlatform(to))}
      row={({ name, from: a, to: b }) => [name, <Side of={a} />, <Side of={b} />, differenceOf(path, a, b)]}
      empty="Both indexes are empty."
    />
  </>
);

/** Returns digests by platform. An index can list several manifests for one, such as attestations. */
function byPlatform(manifests: readonly Descriptor[]): ReadonlyMap<string, string> {
  const groups = Map.groupBy(manifests, ({ platform }) => platformOf(platform));
  return new Map(
    [...groups].flatMap(([name, group]) =>
      group.map(({ digest }, i) => [i === 0 ? name : `${name}, number ${i + 1}`, digest] as const),
    ),
  );
}

const Side: FC<{ of: string | undefined }> = ({ of }) =>
  of === undefined ? <span class="faint">none</span> : <Digest of={of} />;

function differenceOf(path: string, from: string | undefined, to: string | undefined): Child {
  if (from === undefined) return <State>added</State>;
  if (to === undefined) return <State>removed</State>;
  return from === to ? <State>kept</State> : <a href={withQuery(`${path}/difference`, { from, to })}>Compare</a>;
}

const Layers: FC<{ from: readonly Descriptor[]; to: readonly Descriptor[] }> = ({ from, to }) => {
  const changes = changesOf(from, to, ({ digest }) => digest);
  const isReordered =
    changes.every(({ change }) => change === 'kept') && from.some(({ digest }, i) => digest !== to[i]?.digest);
  return (
    <>
      <h2>Layers</h2>
      <p>
        {(['removed', 'added', 'kept'] as const).map((change) => summaryOf(change, changes)).join(', ')}
        {isReordered && ', in another order'}
      </p>
      <FirstRows
        caption="Layers of the two images"
        columns={['Change', 'Digest', 'Size', 'Type']}
        of={changes}
        row={({ change, item: { digest, size, mediaType = '' } }) => [
          <State>{change}</State>,
          <Digest of={digest} />,
          <Bytes of={size} />,
          mediaType,
        ]}
        empty="Neither image has layers."
      />
    </>
  );
};

function summaryOf(change: Change<Descriptor>['change'], changes: readonly Change<Descriptor>[]): string {
  const sizes = changes.flatMap((each) => (each.change === change ? [each.item.size] : []));
  return `${counted(sizes.length)} ${change} (${inUnits(sizes.reduce((sum, size) => sum + size, 0))})`;
}

const Configs: FC<{ from: ShownConfig; to: ShownConfig }> = ({ from, to }) => (
  <>
    <Table
      caption="Settings that differ"
      columns={['Setting', 'Only from', 'Only to']}
      rows={sidesOf(settingsOf(from), settingsOf(to)).flatMap(({ name, from: a = [], to: b = [] }) => {
        const changes = changesOf(a, b, (value) => value).filter(({ change }) => change !== 'kept');
        const [removed, added] = (['removed', 'added'] as const).map((which) =>
          changes.flatMap(({ change, item }) => (change === which ? [item] : [])),
        );
        return changes.length === 0 ? [] : [[name, <Lines of={removed ?? []} />, <Lines of={added ?? []} />]];
      })}
      empty="Both configs set the same."
    />
    <h2>Build</h2>
    <FirstRows
      caption="Steps of the two builds"
      columns={['Change', 'Step']}
      of={changesOf(from.steps, to.steps, ({ command }) => command)}
      row={({ change, item: { command } }) => [<State>{change}</State>, <Lines of={[command]} />]}
      empty="Neither config has a history of the build."
    />
  </>
);

function settingsOf({ created, settings }: ShownConfig): ReadonlyMap<string, readonly string[]> {
  return new Map([['Built', created === null ? [] : [created]], ...settings]);
}
