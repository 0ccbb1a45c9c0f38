-- What nodes and central need to keep in step. docs/storage.md explains each table, column and index.

-- Central's log of deletions and of changes to control data, which every node follows.
CREATE TABLE feed (
  position INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL CHECK (kind IN ('tag', 'manifest', 'link', 'repository', 'visibility', 'organization', 'credential')),
  name TEXT NOT NULL,
  key TEXT NOT NULL,
  version INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL
) STRICT;

-- At central: how far each node has read the feed. At a node: how far it has itself.
CREATE TABLE followers (
  store TEXT PRIMARY KEY,
  position INTEGER NOT NULL,
  followed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- At central: blobs that were announced with a location at a node, and whose bytes central has yet to get.
CREATE TABLE copies (
  store TEXT NOT NULL,
  digest TEXT NOT NULL,
  organization TEXT NOT NULL,
  size INTEGER NOT NULL,
  announced_at INTEGER NOT NULL,
  PRIMARY KEY (store, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX copies_smallest ON copies (store, size);

CREATE INDEX markers_in_order ON markers (written_at, kind, repository, key);
DROP INDEX markers_oldest;

-- At a node: until when a link may be committed on although the bytes are only at central. NULL: never without them.
ALTER TABLE links ADD COLUMN usable_until INTEGER;

-- The registries at which a credential is good, as a JSON array of 'central' and names of nodes. NULL: all.
ALTER TABLE credentials ADD COLUMN registries TEXT;
