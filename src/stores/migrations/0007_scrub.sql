-- What finds and mends objects that are lost, wrong, or without a row. docs/storage.md explains each table, column and index.

-- What is known to be wrong with a location's object: 'missing' or 'wrong bytes'. NULL: nothing.
ALTER TABLE locations ADD COLUMN damage TEXT CHECK (damage IN ('missing', 'wrong bytes'));
CREATE INDEX locations_damaged ON locations (digest, store) WHERE damage IS NOT NULL;

-- Objects of the store's bucket that no row names.
CREATE TABLE orphans (
  key TEXT PRIMARY KEY,
  size INTEGER NOT NULL,
  first_seen INTEGER NOT NULL,
  sha256 TEXT,
  sha512 TEXT,
  deleting INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX orphans_by_size ON orphans (size);

-- Objects that are being copied from another store in place of damaged ones.
CREATE TABLE repairs (
  digest TEXT PRIMARY KEY,
  progress TEXT NOT NULL
) STRICT, WITHOUT ROWID;
