/** The local registry inside this process, with the test's own entry point around the Worker. */
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { freePorts, type LocalRegistry, startLocalRegistry } from '../../src/local/simulators.ts';
import { removeFolder, temporaryFolder } from '../support/local/server.ts';

const entryPoint = fileURLToPath(new URL('entry.js', import.meta.url));

test('a custom entry point wraps the Worker; each store has its own database, bucket and queue, and all survive a restart', async () => {
  const stateDir = await temporaryFolder();
  const [port = 0] = await freePorts();
  const during = async (use: (registry: LocalRegistry) => Promise<void>): Promise<void> => {
    const registry = await startLocalRegistry({ port, stateDir, entryPoint });
    try {
      await use(registry);
    } finally {
      await registry.stop();
    }
  };
  try {
    await during(async ({ url, hosts }) => {
      expect(hosts).toEqual([
        { name: 'central', url: `http://localhost:${port}`, port, alias: 'index.localhost' },
        { name: 'node1', url: `http://localhost:${port + 1}`, port: port + 1, alias: 'index.node1.localhost' },
        { name: 'node2', url: `http://localhost:${port + 2}`, port: port + 2, alias: 'index.node2.localhost' },
      ]);
      expect((await fetch(new URL('/write', url))).status).toBe(204);
    });
    await during(async ({ hosts }) => {
      const held = (store: string) => ({ database: [store], bucket: store, queue: store });
      for (const { url } of hosts) {
        expect((await fetch(new URL('/healthz', url))).status).toBe(200);
        expect(await (await fetch(new URL('/read', url))).json()).toEqual({
          CENTRAL: held('CENTRAL'),
          NODE1: held('NODE1'),
          NODE2: held('NODE2'),
        });
      }
    });
  } finally {
    await removeFolder(stateDir);
  }
});
