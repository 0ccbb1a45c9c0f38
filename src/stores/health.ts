import { sql } from './database.ts';
import type { Store } from './store.ts';

export interface StoreHealth {
  readonly database: 'ok' | 'unavailable';
  readonly bucket: 'ok' | 'unavailable';
}

/** Any answer means that the database is reachable and migrated. */
const SELECT_CLOCK = sql`SELECT version FROM clock WHERE id = 1`;

/** Asks a store's database and bucket whether they answer. */
export async function healthOf({ database, bucket }: Store): Promise<StoreHealth> {
  const [rows, probe] = await Promise.allSettled([database.all(SELECT_CLOCK), bucket.probe()]);
  return {
    database: rows.status === 'fulfilled' && rows.value.length === 1 ? 'ok' : 'unavailable',
    bucket: probe.status === 'fulfilled' ? 'ok' : 'unavailable',
  };
}
