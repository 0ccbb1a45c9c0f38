import { listDurableObjectIds, runInDurableObject } from 'cloudflare:test';

/** Empties the storage of all Durable Objects of a kind, and takes their alarms away. */
export async function forgetObjects<Kind extends Rpc.DurableObjectBranded>(
  objects: DurableObjectNamespace<Kind>,
): Promise<void> {
  for (const id of await listDurableObjectIds(objects)) {
    await runInDurableObject(objects.get(id), async (_object, { storage }) => {
      await storage.deleteAlarm();
      await storage.deleteAll();
    });
  }
}
