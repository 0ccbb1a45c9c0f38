/**
 * Measures how far D1 and R2 are from each host. It subtracts the time of a request that reads neither, so the distance
 * from this machine does not count.
 */
import { isLoopback } from '../../config.ts';
import { type Ask, requireStatus } from './client.ts';
import type { Host } from './hosts.ts';
import { type Found, notChecked, ok, warning } from './line.ts';
import type { Run } from './run.ts';

/** Requests of each kind, of which the median counts. */
const REQUESTS = 9;

/** Milliseconds. D1 usually takes 5 to 30, R2 20 to 100; several times that is a store on another continent. */
const SLOW = { D1: 200, R2: 400 };

const FAR =
  'Its store may be far from its users. Neither database nor bucket can be moved: docs/deploying.md, "Nodes".';

export async function* checkLatency({ client, images, scratch }: Run, host: Host): AsyncGenerator<Found, void> {
  const image = images.get(host);
  if (image === undefined || scratch === undefined) return yield notChecked('nothing was pushed to the host');
  const median = async (path: string, status: number, asked: Ask = {}): Promise<number> => {
    const times: number[] = [];
    for (let i = 0; i < REQUESTS; i++) {
      const began = performance.now();
      requireStatus(await scratch.ask(client, host, path, asked), status);
      times.push(performance.now() - began);
    }
    return times.toSorted((a, b) => a - b)[Math.floor(REQUESTS / 2)] ?? 0;
  };
  const berth = await median('/v2/', 200);
  // The row of a manifest is in D1. The bytes of a blob are in R2, and its row in D1.
  const row = await median(`manifests/${image.manifest.digest}`, 200, { method: 'HEAD' });
  const object = await median(`blobs/${image.config.digest}`, 200);
  const took = { D1: Math.max(0, row - berth), R2: Math.max(0, object - row) };
  const seen = `D1 ${Math.round(took.D1)} ms, R2 ${Math.round(took.R2)} ms, Berth from here ${Math.round(berth)} ms`;
  const isFar = took.D1 > SLOW.D1 || took.R2 > SLOW.R2;
  // On this machine nothing is far, but anything may be slow.
  yield isFar && !isLoopback(host.url.hostname) ? warning(seen, FAR) : ok(seen);
}
