-- What the cron trigger's tasks remember between their slices. docs/storage.md explains each table and column.
CREATE TABLE maintenance_tasks (
  task TEXT PRIMARY KEY,
  position TEXT NOT NULL,
  round_started_at INTEGER NOT NULL,
  round_ended_at INTEGER,
  last_slice_at INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  slices INTEGER NOT NULL,
  stopped TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE maintenance_counters (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
