-- Removals of repositories and organizations: rows that merge like the others. docs/storage.md explains each column and index.
CREATE TABLE removals (
  name TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  dead_until INTEGER NOT NULL,
  swept INTEGER NOT NULL,
  position TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX removals_unswept ON removals (name, dead_until) WHERE swept = 0;

-- What an organization has open goes with it.
CREATE INDEX uploads_open ON uploads (repository, id) WHERE state = 'open';

-- A link that is made after a removal is later than it, however short the time between.
CREATE TRIGGER link_after_removal AFTER INSERT ON links
WHEN EXISTS (SELECT 1 FROM removals x INDEXED BY removals_unswept WHERE x.swept = 0 AND x.dead_until >= NEW.created_at
  AND x.name IN (NEW.repository, substr(NEW.repository, 1, instr(NEW.repository, '/') - 1)))
BEGIN
  UPDATE links SET created_at = (SELECT max(x.dead_until) + 1 FROM removals x INDEXED BY removals_unswept WHERE x.swept = 0
    AND x.name IN (NEW.repository, substr(NEW.repository, 1, instr(NEW.repository, '/') - 1)))
  WHERE repository = NEW.repository AND digest = NEW.digest;
END;
CREATE TRIGGER link_anew_after_removal AFTER UPDATE OF created_at ON links
WHEN EXISTS (SELECT 1 FROM removals x INDEXED BY removals_unswept WHERE x.swept = 0 AND x.dead_until >= NEW.created_at
  AND x.name IN (NEW.repository, substr(NEW.repository, 1, instr(NEW.repository, '/') - 1)))
BEGIN
  UPDATE links SET created_at = (SELECT max(x.dead_until) + 1 FROM removals x INDEXED BY removals_unswept WHERE x.swept = 0
    AND x.name IN (NEW.repository, substr(NEW.repository, 1, instr(NEW.repository, '/') - 1)))
  WHERE repository = NEW.repository AND digest = NEW.digest;
END;
