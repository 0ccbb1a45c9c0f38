/** Distribution as a proxy of the same upstream, measured in the same run. It has no replicas, and checks no rights. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { distribution, startRegistry } from '../support/local/registries.ts';

/** @param use is given its port */
export async function withProxy<Result>(upstream: string, use: (port: number) => Promise<Result>): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'berth-bench-proxy-'));
  try {
    const proxy = await startRegistry(await distribution(), folder, false, undefined, upstream);
    try {
      return await use(Number(new URL(proxy.url).port));
    } finally {
      await proxy.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
