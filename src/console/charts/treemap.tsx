/** A treemap of the bytes of an organization's repositories: a tile for each, and the same figures as a table. */
import { hierarchy, treemap } from 'd3-hierarchy';
import type { FC } from 'hono/jsx';
import type { RepositoriesUsage } from '../answers.ts';
import { counted, inUnits, Table, Time } from '../components.tsx';
import { repositoryPath } from '../paths.ts';
import { Figure } from './figure.tsx';

const [WIDTH, HEIGHT] = [640, 280];
/** The size of a letter, and the least height of a tile that has a name. */
const [LETTER, LINE] = [7, 18];

interface Tile {
  readonly name: string;
  /** Bytes. */
  readonly share: number;
  /** The part of `share` that no other repository has; undefined for the tile of all others. */
  readonly unshared: number | undefined;
}

type Node = Tile | { readonly children: Tile[] };

export const RepositoriesTreemap: FC<{ usage: RepositoriesUsage; organization: string }> = ({
  usage,
  organization,
}) => {
  const { repositories, others, measured_at: measuredAt } = usage;
  const tiles: Tile[] = [
    ...repositories.map(({ name, share, unshared }) => ({
      name: name.slice(organization.length + 1),
      share,
      unshared,
    })),
    { name: `${counted(others.repositories)} others`, share: others.bytes, unshared: undefined },
  ].filter(({ share }) => share > 0);
  if (tiles.length === 0) return <p class="empty">Repositories are measured once a day. The chart appears tomorrow.</p>;
  const root = hierarchy<Node>({ children: tiles }).sum((node) => ('share' in node ? node.share : 0));
  const leaves = treemap<Node>().size([WIDTH, HEIGHT]).padding(2)(root).leaves();
  return (
    <Figure
      title={`Bytes by repository of ${organization}`}
      size={[WIDTH, HEIGHT]}
      keys="tiles"
      legend={[
        'Only in this repository',
        'Shared with other repositories, divided among them',
        ...(others.bytes > 0 ? ['All other repositories'] : []),
      ]}
      table={
        <>
          <p>
            Measured <Time at={measuredAt} />
          </p>
          <Table
            caption="Bytes by repository"
            columns={['Repository', 'Share', 'Blobs', 'Only here']}
            rows={[
              ...repositories.map(({ name, share, bytes, unshared }) => [
                <a href={repositoryPath(name)}>{name}</a>,
                inUnits(share),
                inUnits(bytes),
                inUnits(unshared),
              ]),
              [`${counted(others.repositories)} others`, inUnits(others.bytes), '', ''],
            ]}
            empty=""
          />
        </>
      }
    >
      {leaves.map(({ x0, x1, y0, y1, data }) => {
        const { name, share, unshared } = data as Tile;
        const [width, height] = [x1 - x0, y1 - y0];
        const letters = Math.floor((width - 8) / LETTER);
        return (
          <>
            <rect
              class={unshared === undefined ? 'tile-3' : 'tile-2'}
              x={x0.toFixed(1)}
              y={y0.toFixed(1)}
              width={width.toFixed(1)}
              height={height.toFixed(1)}
            />
            {unshared !== undefined && (
              <rect
                class="tile-1"
                x={x0.toFixed(1)}
                y={y0.toFixed(1)}
                width={width.toFixed(1)}
                height={((height * unshared) / share).toFixed(1)}
              />
            )}
            {height >= LINE && letters >= 3 && (
              <text class="tile-name" x={(x0 + 4).toFixed(1)} y={(y0 + 14).toFixed(1)}>
                {name.length > letters ? `${name.slice(0, letters - 1)}…` : name}
              </text>
            )}
          </>
        );
      })}
    </Figure>
  );
};
