-- The schema of every store. docs/storage.md explains each table, column and index.

CREATE TABLE clock (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  stamp INTEGER NOT NULL,
  commit_id TEXT NOT NULL
) STRICT;
INSERT INTO clock (id, stamp, commit_id) VALUES (1, 0, '');

CREATE TABLE repositories (
  name TEXT PRIMARY KEY,
  created_at INTEGER NOT NULL,
  listed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX repositories_listed ON repositories (name) WHERE listed = 1;

CREATE TABLE manifests (
  repository TEXT NOT NULL,
  digest TEXT NOT NULL,
  media_type TEXT NOT NULL,
  artifact_type TEXT NOT NULL,
  subject TEXT,
  size INTEGER NOT NULL,
  created_version INTEGER NOT NULL,
  deleted_version INTEGER NOT NULL,
  last_pull INTEGER NOT NULL,
  PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifests_live ON manifests (repository) WHERE created_version > deleted_version;
CREATE INDEX manifests_referrers ON manifests (repository, subject, artifact_type, digest)
  WHERE subject IS NOT NULL AND created_version > deleted_version;

CREATE TABLE manifest_contents (
  repository TEXT NOT NULL,
  digest TEXT NOT NULL,
  part INTEGER NOT NULL,
  content TEXT NOT NULL,
  PRIMARY KEY (repository, digest, part)
) STRICT;

CREATE TABLE manifest_references (
  repository TEXT NOT NULL,
  digest TEXT NOT NULL,
  manifest TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('config', 'layer', 'child', 'subject')),
  size INTEGER NOT NULL,
  PRIMARY KEY (repository, digest, manifest, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_references_by_manifest ON manifest_references (repository, manifest);

CREATE TABLE tags (
  repository TEXT NOT NULL,
  name TEXT NOT NULL,
  digest TEXT,
  version INTEGER NOT NULL,
  origin TEXT NOT NULL,
  visible INTEGER NOT NULL,
  PRIMARY KEY (repository, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_visible ON tags (repository, name) WHERE visible = 1;
CREATE INDEX tags_by_digest ON tags (repository, digest);

CREATE TABLE tag_history (
  repository TEXT NOT NULL,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  origin TEXT NOT NULL,
  digest TEXT,
  recorded_at INTEGER NOT NULL,
  PRIMARY KEY (repository, name, version, origin)
) STRICT, WITHOUT ROWID;

CREATE TABLE markers (
  kind TEXT NOT NULL CHECK (kind IN ('tag', 'manifest')),
  repository TEXT NOT NULL,
  key TEXT NOT NULL,
  stamp INTEGER NOT NULL,
  written_at INTEGER NOT NULL,
  PRIMARY KEY (kind, repository, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX markers_oldest ON markers (written_at);

CREATE TABLE locations (
  digest TEXT NOT NULL,
  store TEXT NOT NULL,
  key TEXT NOT NULL,
  size INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  lease_until INTEGER NOT NULL,
  leaving TEXT,
  PRIMARY KEY (digest, store)
) STRICT, WITHOUT ROWID;

CREATE TABLE links (
  repository TEXT NOT NULL,
  digest TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_by_digest ON links (digest, repository);

CREATE TABLE uploads (
  id TEXT PRIMARY KEY,
  repository TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'finished', 'cancelled')),
  size INTEGER NOT NULL,
  digest TEXT,
  write_id TEXT NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX uploads_expired ON uploads (expires_at);

CREATE TABLE upload_chunks (
  upload TEXT NOT NULL,
  start INTEGER NOT NULL,
  size INTEGER NOT NULL,
  key TEXT NOT NULL,
  PRIMARY KEY (upload, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE organizations (
  name TEXT PRIMARY KEY,
  created_at INTEGER NOT NULL,
  removed_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE credentials (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('organization', 'platform', 'administrator')),
  organization TEXT NOT NULL,
  name TEXT NOT NULL,
  rights TEXT NOT NULL,
  repositories TEXT NOT NULL,
  secret_hash TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  last_used_at INTEGER,
  CHECK ((kind = 'organization') = (organization <> ''))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX credentials_by_name ON credentials (organization, name);
CREATE UNIQUE INDEX credentials_by_secret ON credentials (secret_hash);

CREATE TABLE public_repositories (
  name TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
