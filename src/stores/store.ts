import type { StoreName } from '../namespaces/namespace.ts';
import { Bucket } from './bucket.ts';
import { Database } from './database.ts';
import type { StatementMeter } from './statement-meter.ts';

/** The pair that holds a namespace's state: one D1 database (all metadata) and one R2 bucket (all bytes). */
export interface Store {
  readonly name: StoreName;
  readonly database: Database;
  readonly bucket: Bucket;
}

/** Wraps the bindings of a store. @param meter counts the statements, and may refuse them */
export function openStore(name: StoreName, d1: D1Database, r2: R2Bucket, meter?: StatementMeter): Store {
  return { name, database: new Database(d1, meter), bucket: new Bucket(r2) };
}
