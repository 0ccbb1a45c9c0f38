import { sql } from './database.ts';
import type { Store } from './store.ts';

export interface StoreHealth {
  readonly database: 'ok' | 'unavailable';
  readonly bucket: 'ok' | 'unavailable';
}

/** Any answer says that the database is there and migrated. */
const SELECT_CLOCK = sql`SELECT version FROM clock WHERE id = 1`;

export async function healthOf({ database, bucket }: Store): Promise<StoreHealth> {
  const [rows, probe] = await Promise.allSettled([database.all(SELECT_CLOCK), bucket.probe()]);
  return {
    database: rows.status === 'fulfilled' && rows.value.length === 1 ? 'ok' : 'unavailable',
    bucket: probe.status === 'fulfilled' ? 'ok' : 'unavailable',
  };
}
