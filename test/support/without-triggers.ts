/** Does work without triggers, which makes inserting many rows twenty times as fast. */
export async function withoutTriggers(database: D1Database, work: () => Promise<void>): Promise<void> {
  const triggers = await database
    .prepare("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    .all<{ name: string; sql: string }>();
  for (const { name } of triggers.results) await database.prepare(`DROP TRIGGER ${name}`).run();
  await work();
  for (const { sql } of triggers.results) await database.prepare(sql).run();
}
