/** One image: its contents, locations and referrers. */
import { Hono } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { FC } from 'hono/jsx';
import type { ImageState, Pin, SharedBlob } from '../answers.ts';
import { Bytes, Digest, Facts, FirstRows, NotShown, State, Table, Time } from '../components.tsx';
import type { ConsoleEnv, SignedIn } from '../context.ts';
import { DAY } from '../../durations.ts';
import { FormFields } from '../form.ts';
import { Action, Form, Page } from '../layout.tsx';
import { readConfig, type ShownConfig } from '../image-config.ts';
import { type Descriptor, readManifest, type ShownManifest } from '../manifest.ts';
import { ifSoon, type RegistryClient, unless } from '../registry-client.ts';
import { apiImage, imagePath, imageRoute, isTag, repositoryPath, splitImage, titleOf } from '../paths.ts';
import { may } from '../rights.ts';
import { Build } from './image-build.tsx';
import { Parts } from './image-parts.tsx';

export function imagePages(): Hono<ConsoleEnv> {
  const pages = new Hono<ConsoleEnv>();

  pages.post(imageRoute('/prefetch'), async (c) => {
    const { repository, reference } = splitImage(c.req.param('image') ?? '');
    const node = (await FormFields.of(c)).text('node');
    await c.get('reader').registry.change('POST', `${apiImage(repository, reference)}/prefetch`, { node });
    return c.redirect(imagePath(repository, reference), 303);
  });

  pages.post(imageRoute('/pin'), async (c) => {
    const { repository, reference } = splitImage(c.req.param('image') ?? '');
    const form = await FormFields.of(c);
    const pin = `${apiImage(repository, reference)}/pins/${encodeURIComponent(form.text('node'))}`;
    await c.get('reader').registry.change(form.text('method') === 'DELETE' ? 'DELETE' : 'PUT', pin);
    return c.redirect(imagePath(repository, reference), 303);
  });

  pages.post(imageRoute('/retag'), async (c) => {
    const { repository } = splitImage(c.req.param('image') ?? '');
    const form = await FormFields.of(c);
    const [digest, tag] = [form.text('digest'), form.text('tag')];
    if (tag === '') throw new HTTPException(400, { message: 'enter the tag to set' });
    await c.get('reader').registry.setTag(repository, tag, digest);
    return c.redirect(imagePath(repository, tag), 303);
  });

  pages.get(imageRoute('/delete'), async (c) => {
    const { repository, reference } = splitImage(c.req.param('image') ?? '');
    const [path, title] = [imagePath(repository, reference), titleOf(repository, reference)];
    const until = isTag(reference) ? await restorableUntil(c.get('reader'), repository, reference) : null;
    return c.html(
      <Page title={`Delete ${title}?`} reader={c.get('reader')} section="/images">
        <p>
          {isTag(reference)
            ? 'This deletes the tag alone, at every registry. Its manifest stays, and its history can put the tag back.'
            : 'This deletes the manifest and all its tags, at every registry. Only a push brings them back.'}
        </p>
        {until !== null && (
          <p>
            It can be put back until <Time at={until} />.
          </p>
        )}
        <Action reader={c.get('reader')} action={`${path}/delete`} label={`Delete ${title}`} />
        <a href={path}>Cancel</a>
      </Page>,
    );
  });

  pages.post(imageRoute('/delete'), async (c) => {
    const { repository, reference } = splitImage(c.req.param('image') ?? '');
    await c.get('reader').registry.change('DELETE', `/v2/${repository}/manifests/${reference}`);
    return c.redirect(repositoryPath(repository), 303);
  });

  pages.get(imageRoute(), async (c) => {
    const reader = c.get('reader');
    const { repository, reference } = splitImage(c.req.param('image') ?? '');
    const images = contentsOf(reader, repository, reference);
    const [contents, pins] = await Promise.all([
      // Administrators pin images that they may not pull.
      reader.caller.kind === 'administrator' ? unless(403, images) : images,
      reader.caller.kind === 'administrator'
        ? reader.registry.get<{ pins: Pin[] }>(`${apiImage(repository, reference)}/pins`)
        : undefined,
    ]);
    const path = imagePath(repository, reference);
    const title = titleOf(repository, reference);
    return c.html(
      <Page title={title} reader={reader} section="/images">
        <p>
          <a href={repositoryPath(repository)}>{repository}</a>
        </p>
        {contents ? <Contents repository={repository} reference={reference} {...contents} /> : <NotShown />}
        {contents?.state.digest != null && may(reader, 'push', repository) && (
          <Retag reader={reader} path={path} digest={contents.state.digest} />
        )}
        <Nodes reader={reader} repository={repository} path={path} pins={pins?.pins} />
        <Commands reader={reader} title={title} />
        {may(reader, 'delete', repository) && (
          <p>
            <a href={`${path}/delete`}>Delete {title}…</a>
          </p>
        )}
        {contents && (
          <>
            <h2>Manifest</h2>
            {contents.manifest ? (
              <pre tabindex={0}>{contents.manifest.text}</pre>
            ) : (
              <p>
                It is too large for this page. <a href={`${path}/contents`}>Show the manifest</a>
              </p>
            )}
          </>
        )}
      </Page>,
    );
  });
  return pages;
}

/** Returns when the history of a tag that is deleted now ends; null if it is not known. @throws RegistryError */
async function restorableUntil({ registry }: SignedIn, repository: string, tag: string): Promise<string | null> {
  const history = registry.get<{ kept_days: number }>(`${apiImage(repository, tag)}/history`, { n: 1 });
  const known = await ifSoon(unless(403, history));
  return known === undefined ? null : new Date(Date.now() + known.kept_days * DAY).toISOString();
}

interface ImageContents extends ImageParts {
  readonly state: ImageState;
}

/** The manifest, and what it leads to. */
interface ImageParts {
  /** Undefined if it is too large to show. */
  readonly manifest: ShownManifest | undefined;
  /** Undefined if it is not the config of an image, too large to show, or not read in time. */
  readonly config: ShownConfig | undefined;
  readonly referrers: readonly Descriptor[];
  /** Other images that have a layer, by the layer's digest. */
  readonly shared: ReadonlyMap<string, SharedBlob['images']>;
  /** Whether a store did not answer in time for the config or the shared layers. */
  readonly isPartial: boolean;
}

async function contentsOf({ registry }: SignedIn, repository: string, reference: string): Promise<ImageContents> {
  const [state, parts] = await Promise.all([
    registry.get<ImageState>(apiImage(repository, reference)),
    partsOf(registry, repository, reference),
  ]);
  return { state, ...parts };
}

async function partsOf(registry: RegistryClient, repository: string, reference: string): Promise<ImageParts> {
  const { digest, shown: manifest } = await readManifest(registry, repository, reference);
  const { config, layers } = manifest ?? {};
  const [{ manifests: referrers }, build, sharing] = await Promise.all([
    registry.get<{ manifests: Descriptor[] }>(`/v2/${repository}/referrers/${digest}`),
    config
      ? ifSoon(readConfig(registry, repository, config).then((read) => ({ config: read })))
      : { config: undefined },
    layers ? ifSoon(registry.get<{ shared: SharedBlob[] }>(`${apiImage(repository, digest)}/shared`)) : { shared: [] },
  ]);
  return {
    manifest,
    config: build?.config,
    referrers,
    shared: new Map((sharing?.shared ?? []).map(({ blob, images }) => [blob, images])),
    isPartial: build === undefined || sharing === undefined,
  };
}

const Contents: FC<ImageContents & { repository: string; reference: string }> = ({
  repository,
  reference,
  state,
  manifest,
  config,
  referrers,
  shared,
  isPartial,
}) => (
  <>
    {isPartial && (
      <p class="problem">A store does not answer, so the config or the images that share layers are missing.</p>
    )}
    <Facts
      of={[
        ['State', <State>{state.state}</State>],
        ['Digest', <code>{state.digest ?? ''}</code>],
        ['Type', manifest?.mediaType ?? manifest?.config?.mediaType ?? 'not stated'],
        ['Pushed at', state.origin ?? 'unknown'],
      ]}
    />
    {isTag(reference) && (
      <p>
        <a href={`${imagePath(repository, reference)}/history`}>History of this tag</a>
      </p>
    )}
    {manifest && <Parts repository={repository} reference={reference} manifest={manifest} shared={shared} />}
    {config && <Build config={config} layers={manifest?.layers ?? []} />}
    <h2>Locations</h2>
    <Table
      caption="Stores that hold blobs of the image"
      columns={['Store', 'Blobs', 'Bytes']}
      rows={state.locations.map(({ store, blobs, bytes }) => [store, blobs, <Bytes of={bytes} />])}
      empty="The image has no blobs."
    />
    <h2>Signatures and attestations</h2>
    <FirstRows
      caption="Manifests that refer to this one"
      columns={['Digest', 'Type', 'Size']}
      of={referrers}
      row={(each) => [
        <Digest of={each.digest} href={imagePath(repository, each.digest)} />,
        each.artifactType ?? each.mediaType ?? '',
        <Bytes of={each.size} />,
      ]}
      empty="Nothing refers to this image."
    />
  </>
);

/** A form that points another tag to the image. It sends the digest, because the page's tag may have moved. */
const Retag: FC<{ reader: SignedIn; path: string; digest: string }> = ({ reader, path, digest }) => (
  <Form reader={reader} action={`${path}/retag`} class="inline">
    <input type="hidden" name="digest" value={digest} />
    <label>
      Another tag for this image
      <input name="tag" required pattern="[a-zA-Z0-9_][a-zA-Z0-9._\-]{0,127}" />
    </label>
    <button type="submit">Set the tag</button>
  </Form>
);

const Nodes: FC<{ reader: SignedIn; repository: string; path: string; pins: readonly Pin[] | undefined }> = ({
  reader,
  repository,
  path,
  pins,
}) => {
  const nodes = reader.caller.registries.map(({ name }) => name).filter((name) => name !== 'central');
  if (nodes.length === 0 || !may(reader, 'prefetch', repository)) return <></>;
  return (
    <>
      <h2>Nodes</h2>
      <Table
        caption="Nodes that the image can be copied to"
        columns={['Node', 'Pinned', 'Actions']}
        rows={nodes.map((node) => {
          const pin = pins?.find((each) => each.node === node);
          return [
            node,
            <Time at={pin?.pinned_at ?? null} none="no" />,
            <>
              <Action reader={reader} action={`${path}/prefetch`} fields={{ node }} label={`Copy to ${node} now`} />
              {pins && (
                <Action
                  reader={reader}
                  action={`${path}/pin`}
                  fields={{ node, method: pin === undefined ? 'PUT' : 'DELETE' }}
                  label={pin === undefined ? `Keep at ${node}` : `Let ${node} evict it`}
                />
              )}
            </>,
          ];
        })}
        empty=""
      />
    </>
  );
};

const Commands: FC<{ reader: SignedIn; title: string }> = ({ reader, title }) => (
  <>
    <h2>Pull it</h2>
    {reader.caller.registries.map(({ name, host }) => (
      <>
        <h3>From {name}</h3>
        <pre tabindex={0}>
          {[
            `docker pull ${host}/${title}`,
            `podman pull ${host}/${title}`,
            `crane pull ${host}/${title} image.tar`,
            `berth pull ${host}/${title} oci:image`,
            `kraft pkg pull ${host}/${title}`,
            `unikraft run --image=${host}/${title}`,
          ].join('\n')}
        </pre>
      </>
    ))}
  </>
);
