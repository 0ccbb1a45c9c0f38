/** No statement reads more rows than its stated bound, whatever others have stored before. */
import { env } from 'cloudflare:workers';
import { afterAll, expect, test } from 'vitest';
import { allStatements, wholeTableStatements } from '../../src/stores/database.ts';
import '../../src/maintenance/schedule.ts';
import '../../src/registry/compose.ts';
import '../../src/replication/durable-object.ts';
import { fillAsAdversary } from '../support/adversary.ts';
import { clearStores } from '../support/bindings.ts';
import type { Reading } from '../support/rows-read.ts';
import { operations } from '../support/rows-read-operations.ts';
import { withoutTriggers } from '../support/without-triggers.ts';

// Runs before other files clear the stores, because the triggers would make that slow.
afterAll(() => withoutTriggers(env.DB_CENTRAL, clearStores), 60_000);

const shortened = (text: string): string => text.replaceAll(/\s+/g, ' ').trim().slice(0, 200);

test('every statement stays within its bound, in a store that an adversary has filled', async () => {
  await fillAsAdversary(env.DB_CENTRAL);
  const readings: Reading[] = [];
  const tooMany = new Map<string, string>();
  const ran = new Set<string>();
  for (const [name, operation] of await operations(readings)) {
    readings.length = 0;
    await operation().catch((cause: unknown) => {
      throw new Error(name, { cause });
    });
    for (const { statement, read, bound } of readings) {
      ran.add(statement.text);
      if (read > bound)
        tooMany.set(statement.text, `${name}: ${read} rows instead of ${bound}: ${shortened(statement.text)}`);
    }
  }
  expect([...tooMany.values()]).toEqual([]);
  const all = [...allStatements, ...wholeTableStatements];
  expect(all.filter(({ text }) => !ran.has(text)).map(({ text }) => shortened(text))).toEqual([]);
}, 180_000);
