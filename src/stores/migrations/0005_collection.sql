-- Collection, eviction and tombstones. docs/storage.md explains each table, column and index.

-- Objects whose rows have gone: they go from the bucket once their time has come.
CREATE TABLE departed (
  delete_after INTEGER NOT NULL,
  key TEXT NOT NULL,
  size INTEGER NOT NULL,
  PRIMARY KEY (delete_after, key)
) STRICT, WITHOUT ROWID;

-- What a store's locations add up to, kept with every change of them.
CREATE TABLE stored_bytes (
  store TEXT PRIMARY KEY,
  blobs INTEGER NOT NULL,
  bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO stored_bytes (store, blobs, bytes) SELECT store, count(*), sum(size) FROM locations GROUP BY store;
CREATE TRIGGER locations_added AFTER INSERT ON locations BEGIN
  INSERT INTO stored_bytes (store, blobs, bytes) VALUES (new.store, 1, new.size)
  ON CONFLICT (store) DO UPDATE SET blobs = blobs + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER locations_removed AFTER DELETE ON locations BEGIN
  UPDATE stored_bytes SET blobs = blobs - 1, bytes = bytes - old.size WHERE store = old.store;
END;

-- At a node: images that are never evicted, by tag or digest.
CREATE TABLE pins (
  repository TEXT NOT NULL,
  reference TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (repository, reference)
) STRICT, WITHOUT ROWID;

-- The transaction that evicts an image; empty outside of it.
CREATE TABLE evictions (
  token TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- When an image was last pulled, or was pushed.
ALTER TABLE manifests ADD COLUMN used_at INTEGER GENERATED ALWAYS AS (max(last_pull, created_version / 1000)) VIRTUAL;
CREATE INDEX manifests_used ON manifests (used_at, repository, digest) WHERE created_version > deleted_version;
CREATE INDEX manifests_deleted ON manifests (deleted_version) WHERE deleted_version > 0;
CREATE INDEX tags_deleted ON tags (version) WHERE digest IS NULL;
