/** A map of the registry: central in the middle, the nodes around it, and between them how replication goes. */
import { pointRadial } from 'd3-shape';
import type { FC } from 'hono/jsx';
import type { Queue } from '../answers.ts';
import { counted } from '../components.tsx';
import { Figure } from './figure.tsx';

type Health = 'good' | 'busy' | 'bad';

interface Site {
  readonly name: string;
  readonly health: Health;
  /** A mark and a word that say the same as the color. */
  readonly state: string;
  /** The work that waits, and for how long. */
  readonly waiting: string;
}

/** The room of a site, in units of the picture, and the part of it that its box covers. */
const [WIDTH, HEIGHT] = [116, 72];
const [BOX_WIDTH, BOX_HEIGHT] = [104, 56];
/** The most characters of a name that fit in a box. */
const CHARACTERS = 14;
/** Two rooms, scaled to squares of side 1, never overlap if their centers are this far apart, in any direction. */
const APART = Math.SQRT2;

const LEGEND = ['In step: nothing waits', 'Announcing or copying', 'Stopped: paused, parked jobs, or no answer'];
const LINKS: Readonly<Record<Health, string>> = { good: 'link-1', busy: 'link-2', bad: 'link-3' };

export const SystemMap: FC<{ queues: readonly Queue[] }> = ({ queues }) => {
  const sites = queues.map(siteOf);
  const places = placesAround(sites.length);
  const across = Math.ceil(Math.max(0, ...places.map(([x]) => Math.abs(x)))) * 2 + WIDTH;
  const down = Math.ceil(Math.max(0, ...places.map(([, y]) => Math.abs(y)))) * 2 + HEIGHT;
  const at = (i: number): readonly [x: number, y: number] => {
    const [x, y] = places[i] ?? [0, 0];
    return [across / 2 + x, down / 2 + y];
  };
  const [x2, y2] = [across / 2, down / 2];
  return (
    <Figure title={titleOf(sites)} size={[across, down]} isFixed legend={LEGEND} keys="links">
      {sites.map(({ health }, i) => {
        const [x1, y1] = at(i);
        return <line class={LINKS[health]} {...rounded({ x1, y1, x2, y2 })} />;
      })}
      <Box site={centralOf(queues)} at={[x2, y2]} />
      {sites.map((site, i) => (
        <Box site={site} at={at(i)} />
      ))}
    </Figure>
  );
};

const Box: FC<{ site: Site; at: readonly [x: number, y: number] }> = ({ site, at: [x, y] }) => {
  const { name, health, state, waiting } = site;
  const corner = rounded({ x: x - BOX_WIDTH / 2, y: y - BOX_HEIGHT / 2 });
  return (
    <g class={`site ${health}`}>
      <rect {...corner} width={BOX_WIDTH} height={BOX_HEIGHT} rx="6" />
      {[name.length > CHARACTERS ? `${name.slice(0, CHARACTERS - 1)}…` : name, state, waiting].map((line, i) => (
        <text {...rounded({ x, y: y + 17 * i - 12 })}>{line}</text>
      ))}
    </g>
  );
};

function rounded<Numbers extends Readonly<Record<string, number>>>(numbers: Numbers): Record<keyof Numbers, string> {
  return Object.fromEntries(
    Object.entries(numbers).map(([name, number]) => [name, String(Math.round(number))]),
  ) as Record<keyof Numbers, string>;
}

/** Describes the map to those who can't see it. The table below has the figures. */
function titleOf(sites: readonly Site[]): string {
  const of = (health: Health): string => counted(sites.filter((site) => site.health === health).length);
  const states = `${of('good')} in step, ${of('busy')} announcing or copying, ${of('bad')} stopped`;
  return sites.length === 0 ? 'Map: central, without nodes' : `Map: central and its nodes, ${states}`;
}

/** Central's database answers if some queue's `copies_up` is not null. */
function centralOf(queues: readonly Queue[]): Site {
  const answers = queues.length === 0 || queues.some(({ copies_up }) => copies_up !== null);
  const lacks = queues.reduce((sum, { copies_up }) => sum + (copies_up?.blobs ?? 0), 0);
  return {
    name: 'central',
    health: answers ? 'good' : 'bad',
    state: answers ? '✓ ok' : '? no answer',
    waiting: answers ? `lacks ${short(lacks)} blobs` : '',
  };
}

function siteOf(queue: Queue): Site {
  const { store: name, depth, parked, copies_up: up, copies_down: down } = queue;
  if (!queue.answers) return { name, health: 'bad', state: '? no answer', waiting: '' };
  const waiting =
    depth === 0 ? 'nothing waits' : `${short(depth)} wait, ${age(queue.oldest_outbox_entry_seconds ?? 0)}`;
  if (parked > 0) return { name, health: 'bad', state: `! ${short(parked)} parked`, waiting };
  if (queue.paused) return { name, health: 'bad', state: '‖ paused', waiting };
  const isBusy = depth + down + (up?.blobs ?? 0) > 0;
  return { name, health: isBusy ? 'busy' : 'good', state: isBusy ? '↑ working' : '✓ ok', waiting };
}

/** Returns a number in at most five characters. */
function short(number: number): string {
  return new Intl.NumberFormat('en-US', { notation: 'compact' }).format(number);
}

function age(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${short(Math.round(minutes / 60))} h`;
}

/** Returns places on rings around the middle, as far apart as boxes need. */
export function placesAround(count: number): (readonly [x: number, y: number])[] {
  const rings: number[] = [];
  for (let left = count; left > 0; left -= rings.at(-1) ?? left)
    // The number of places that fit on the ring with APART or more between neighbors. The chord between neighbors
    // among n places is 2r · sin(π/n).
    rings.push(Math.min(left, Math.floor(Math.PI / Math.asin(1 / (2 * (rings.length + 1))) + 1e-9)));
  return rings.flatMap((places, ring) =>
    Array.from({ length: places }, (_, i) => {
      const [x, y] = pointRadial((2 * Math.PI * (i + 0.5)) / places, APART * (ring + 1));
      return [x * WIDTH, y * HEIGHT] as const;
    }),
  );
}
