CREATE TABLE clock (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  version INTEGER NOT NULL,
  commit_id TEXT NOT NULL
) STRICT;
INSERT OR IGNORE INTO clock (id, version, commit_id) VALUES (1, 0, '');

CREATE TABLE repositories (
  name TEXT PRIMARY KEY,
  created_at INTEGER NOT NULL,
  listed INTEGER NOT NULL,
  last_push INTEGER NOT NULL DEFAULT 0,
  last_pull INTEGER NOT NULL DEFAULT 0,
  pushed_at INTEGER GENERATED ALWAYS AS (max(last_push, created_at - created_at % 3600000)) VIRTUAL
) STRICT, WITHOUT ROWID;
CREATE INDEX repositories_listed ON repositories (name) WHERE listed = 1;
CREATE INDEX repositories_pushed ON repositories (substr(name, 1, instr(name, '/')), pushed_at, name)
  WHERE listed = 1;

CREATE TABLE manifests (
  repository TEXT NOT NULL,
  digest TEXT NOT NULL,
  media_type TEXT NOT NULL,
  artifact_type TEXT NOT NULL,
  typed TEXT NOT NULL DEFAULT '',
  typed_otherwise TEXT NOT NULL DEFAULT '',
  subject TEXT,
  size INTEGER NOT NULL,
  created_version INTEGER NOT NULL,
  deleted_version INTEGER NOT NULL,
  last_pull INTEGER NOT NULL,
  used_at INTEGER GENERATED ALWAYS AS (max(last_pull, created_version / 1000)) VIRTUAL,
  image_size INTEGER,
  image_kind TEXT,
  image_platform TEXT,
  evictable INTEGER NOT NULL DEFAULT 0,
  descriptors TEXT,
  PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER pulled_manifest AFTER UPDATE OF last_pull ON manifests
WHEN NEW.last_pull > OLD.last_pull
BEGIN
  UPDATE repositories SET last_pull = NEW.last_pull WHERE name = NEW.repository AND last_pull < NEW.last_pull;
END;
CREATE INDEX manifests_live ON manifests (repository) WHERE created_version > deleted_version;
CREATE INDEX manifests_referrers ON manifests (repository, subject, artifact_type COLLATE NOCASE, digest)
  WHERE subject IS NOT NULL AND created_version > deleted_version;
CREATE INDEX manifests_used ON manifests (used_at, repository, digest)
  WHERE evictable = 1 AND created_version > deleted_version;
CREATE INDEX manifests_deleted ON manifests (deleted_version) WHERE deleted_version > 0;

CREATE TABLE large_descriptors (
  repository TEXT NOT NULL,
  digest TEXT NOT NULL,
  descriptors TEXT NOT NULL,
  PRIMARY KEY (repository, digest)
) STRICT;

CREATE TABLE manifest_contents (
  repository TEXT NOT NULL,
  digest TEXT NOT NULL,
  part INTEGER NOT NULL,
  content TEXT NOT NULL,
  PRIMARY KEY (repository, digest, part)
) STRICT;

CREATE TABLE documents_by_hour (
  hour INTEGER PRIMARY KEY,
  documents INTEGER NOT NULL
) STRICT;

CREATE TABLE manifest_references (
  digest TEXT NOT NULL,
  repository TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('config', 'layer', 'child')),
  manifest TEXT NOT NULL,
  size INTEGER NOT NULL,
  PRIMARY KEY (digest, repository, kind, manifest)
) STRICT, WITHOUT ROWID;

CREATE TABLE tags (
  repository TEXT NOT NULL,
  name TEXT NOT NULL,
  digest TEXT,
  version INTEGER NOT NULL,
  origin TEXT NOT NULL,
  visible INTEGER NOT NULL,
  author TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (repository, name)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER pushed_new_tag AFTER INSERT ON tags
WHEN NEW.digest IS NOT NULL
BEGIN
  UPDATE repositories SET last_push = NEW.version / 1000 - NEW.version / 1000 % 3600000
  WHERE name = NEW.repository AND pushed_at < NEW.version / 1000 - NEW.version / 1000 % 3600000;
END;
CREATE TRIGGER pushed_tag AFTER UPDATE OF version ON tags
WHEN NEW.digest IS NOT NULL AND NEW.version > OLD.version
BEGIN
  UPDATE repositories SET last_push = NEW.version / 1000 - NEW.version / 1000 % 3600000
  WHERE name = NEW.repository AND pushed_at < NEW.version / 1000 - NEW.version / 1000 % 3600000;
END;
CREATE INDEX tags_visible ON tags (repository, name) WHERE visible = 1;
CREATE INDEX tags_by_digest ON tags (repository, digest, visible, name);
CREATE INDEX tags_deleted ON tags (version) WHERE digest IS NULL;

CREATE TABLE tag_history (
  repository TEXT NOT NULL,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  origin TEXT NOT NULL,
  digest TEXT,
  recorded_at INTEGER NOT NULL,
  author TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (repository, name, version, origin)
) STRICT, WITHOUT ROWID;

CREATE TABLE uploads (
  hour INTEGER NOT NULL,
  repository TEXT NOT NULL,
  id TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'finished', 'cancelled')),
  size INTEGER NOT NULL,
  digest TEXT,
  write_id TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  key TEXT,
  leftover INTEGER NOT NULL DEFAULT 0,
  multipart TEXT,
  part_size INTEGER,
  next_part INTEGER,
  hash TEXT,
  finished_at INTEGER,
  rows INTEGER NOT NULL DEFAULT 1,
  PRIMARY KEY (hour, repository, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE upload_chunks (
  upload TEXT NOT NULL,
  start INTEGER NOT NULL,
  size INTEGER NOT NULL,
  key TEXT,
  parts TEXT,
  PRIMARY KEY (upload, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE locations (
  digest TEXT NOT NULL,
  store TEXT NOT NULL,
  key TEXT NOT NULL,
  size INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  lease_until INTEGER NOT NULL,
  releasing TEXT,
  damage TEXT CHECK (damage IN ('missing', 'wrong bytes')),
  copy_up_for TEXT,
  PRIMARY KEY (digest, store)
) STRICT, WITHOUT ROWID;
CREATE INDEX locations_damaged ON locations (digest, store) WHERE damage IS NOT NULL;
CREATE INDEX locations_to_copy_up ON locations (store, copy_up_for, size, digest) WHERE copy_up_for IS NOT NULL;

CREATE TABLE stored_bytes (
  store TEXT PRIMARY KEY,
  bytes INTEGER NOT NULL,
  counted_to TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER locations_added AFTER INSERT ON locations
BEGIN
  UPDATE stored_bytes SET bytes = bytes + NEW.size WHERE store = NEW.store AND counted_to >= NEW.digest;
END;

CREATE TRIGGER locations_removed AFTER DELETE ON locations
BEGIN
  UPDATE stored_bytes SET bytes = bytes - OLD.size WHERE store = OLD.store AND counted_to >= OLD.digest;
END;

CREATE TABLE links (
  repository TEXT NOT NULL,
  digest TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  usable_until INTEGER,
  counts INTEGER NOT NULL DEFAULT 1,
  PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_by_digest ON links (digest, repository);

CREATE TABLE organizations (
  name TEXT PRIMARY KEY,
  created_at INTEGER NOT NULL,
  removed_at INTEGER,
  quota_bytes INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX organizations_there ON organizations (name) WHERE removed_at IS NULL;

CREATE TABLE credentials (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('organization', 'platform', 'administrator')),
  organization TEXT NOT NULL,
  name TEXT NOT NULL,
  rights TEXT NOT NULL,
  repositories TEXT NOT NULL,
  registries TEXT,
  secret_hash TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  last_used_at INTEGER,
  CHECK ((kind = 'organization') = (organization <> ''))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX credentials_by_name ON credentials (organization, name);
CREATE UNIQUE INDEX credentials_by_secret ON credentials (secret_hash);
CREATE INDEX credentials_named ON credentials (name);

CREATE TABLE public_repositories (
  name TEXT PRIMARY KEY,
  listed INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX public_repositories_listed ON public_repositories (name) WHERE listed = 1;

CREATE TRIGGER public_repository_is_listed AFTER INSERT ON public_repositories
BEGIN
  UPDATE public_repositories SET listed = 1
  WHERE name = NEW.name AND EXISTS (SELECT 1 FROM repositories r WHERE r.name = NEW.name AND r.listed = 1);
END;

CREATE TRIGGER new_repository_is_listed AFTER INSERT ON repositories
WHEN NEW.listed = 1
BEGIN
  UPDATE public_repositories SET listed = 1 WHERE name = NEW.name;
END;

CREATE TRIGGER repository_is_listed AFTER UPDATE OF listed ON repositories
WHEN NEW.listed <> OLD.listed
BEGIN
  UPDATE public_repositories SET listed = NEW.listed WHERE name = NEW.name;
END;

CREATE TRIGGER gone_repository_is_not_listed AFTER DELETE ON repositories
WHEN OLD.listed = 1
BEGIN
  UPDATE public_repositories SET listed = 0 WHERE name = OLD.name;
END;

CREATE TABLE mirrors (
  organization TEXT PRIMARY KEY,
  upstream TEXT NOT NULL,
  login_host TEXT,
  prefix TEXT NOT NULL,
  username TEXT,
  password TEXT,
  repositories TEXT NOT NULL,
  ttl INTEGER NOT NULL,
  stale INTEGER,
  expires INTEGER,
  pushes TEXT NOT NULL,
  public INTEGER NOT NULL,
  changed_at INTEGER NOT NULL,
  CHECK ((username IS NULL) = (password IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  action TEXT NOT NULL,
  organization TEXT NOT NULL,
  repository TEXT NOT NULL,
  key TEXT NOT NULL,
  subject TEXT NOT NULL,
  name TEXT NOT NULL,
  host TEXT NOT NULL,
  count INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE INDEX audit_by_time ON audit (at, id);
CREATE INDEX audit_by_organization ON audit (organization, at, id);
CREATE INDEX audit_by_action ON audit (organization, action, at) WHERE action <> 'refuse login';
CREATE UNIQUE INDEX audit_refused ON audit (at, organization, key, subject) WHERE action = 'refuse login';
CREATE UNIQUE INDEX audit_of_full_hour ON audit (at - at % 3600000, organization, action, subject)
  WHERE repository = '*';
CREATE UNIQUE INDEX audit_prefetched ON audit (at - at % 3600000, repository, key, subject)
  WHERE action = 'prefetch image' AND repository <> '*';

CREATE TABLE removals (
  name TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  dead_until INTEGER NOT NULL,
  swept INTEGER NOT NULL,
  position TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX removals_unswept ON removals (name, dead_until) WHERE swept = 0;
CREATE VIEW unswept_removals AS SELECT name, dead_until FROM removals INDEXED BY removals_unswept WHERE swept = 0;

CREATE TRIGGER link_after_removal AFTER INSERT ON links
WHEN EXISTS (SELECT 1 FROM unswept_removals WHERE dead_until >= NEW.created_at
  AND name IN (NEW.repository, substr(NEW.repository, 1, instr(NEW.repository, '/') - 1)))
BEGIN
  UPDATE links SET created_at = (SELECT max(dead_until) + 1 FROM unswept_removals
    WHERE name IN (NEW.repository, substr(NEW.repository, 1, instr(NEW.repository, '/') - 1)))
  WHERE repository = NEW.repository AND digest = NEW.digest;
END;

CREATE TRIGGER link_anew_after_removal AFTER UPDATE OF created_at ON links
WHEN EXISTS (SELECT 1 FROM unswept_removals WHERE dead_until >= NEW.created_at
  AND name IN (NEW.repository, substr(NEW.repository, 1, instr(NEW.repository, '/') - 1)))
BEGIN
  UPDATE links SET created_at = (SELECT max(dead_until) + 1 FROM unswept_removals
    WHERE name IN (NEW.repository, substr(NEW.repository, 1, instr(NEW.repository, '/') - 1)))
  WHERE repository = NEW.repository AND digest = NEW.digest;
END;

CREATE TABLE outbox (
  kind TEXT NOT NULL CHECK (kind IN ('tag', 'manifest')),
  repository TEXT NOT NULL,
  key TEXT NOT NULL,
  version INTEGER NOT NULL,
  written_at INTEGER NOT NULL,
  tag TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (kind, repository, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_in_order ON outbox (written_at, kind, repository, key);

CREATE TABLE change_log (
  position INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL
    CHECK (kind IN ('tag', 'manifest', 'link', 'repository', 'visibility', 'organization', 'credential', 'mirror')),
  name TEXT NOT NULL,
  key TEXT NOT NULL,
  version INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL,
  author TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX change_log_deletions ON change_log (kind, name, key) WHERE kind IN ('tag', 'manifest', 'link');

CREATE TABLE change_log_positions (
  store TEXT PRIMARY KEY,
  position INTEGER NOT NULL,
  applied_at INTEGER NOT NULL,
  usage_changed INTEGER
) STRICT, WITHOUT ROWID;

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

CREATE TABLE delete_queue (
  delete_after INTEGER NOT NULL,
  key TEXT NOT NULL,
  size INTEGER NOT NULL,
  PRIMARY KEY (delete_after, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE pins (
  repository TEXT NOT NULL,
  reference TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (repository, reference)
) STRICT, WITHOUT ROWID;

CREATE TABLE evictions (
  token TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE orphans (
  key TEXT PRIMARY KEY,
  size INTEGER NOT NULL,
  first_seen INTEGER NOT NULL,
  sha256 TEXT,
  sha512 TEXT,
  deleting INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX orphans_by_size ON orphans (size);

CREATE TABLE repairs (
  name TEXT PRIMARY KEY,
  progress TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE usage (
  organization TEXT PRIMARY KEY,
  repositories INTEGER NOT NULL DEFAULT 0,
  repository_rows INTEGER NOT NULL DEFAULT 0,
  manifests INTEGER NOT NULL DEFAULT 0,
  manifest_bytes INTEGER NOT NULL DEFAULT 0,
  stored_manifest_bytes INTEGER NOT NULL DEFAULT 0,
  tags INTEGER NOT NULL DEFAULT 0,
  tag_rows INTEGER NOT NULL DEFAULT 0,
  blobs INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  unreferenced INTEGER NOT NULL DEFAULT 0,
  open_uploads INTEGER NOT NULL DEFAULT 0,
  uploading INTEGER NOT NULL DEFAULT 0,
  upload_rows INTEGER NOT NULL DEFAULT 0,
  changed INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_changed ON usage (changed) WHERE changed > 0;
CREATE VIEW next_usage_change AS SELECT max(CAST(unixepoch('subsec') * 1000 AS INTEGER),
  1 + coalesce((SELECT max(changed) FROM usage WHERE changed > 0), 0)) AS changed;

CREATE VIEW usage_added AS
  SELECT '' AS organization, 0 AS repositories, 0 AS repository_rows, 0 AS manifests, 0 AS manifest_bytes,
    0 AS stored_manifest_bytes, 0 AS tags, 0 AS tag_rows, 0 AS blobs, 0 AS bytes, 0 AS unreferenced,
    0 AS open_uploads, 0 AS uploading, 0 AS upload_rows
  WHERE false;

CREATE TRIGGER usage_has_changed INSTEAD OF INSERT ON usage_added
BEGIN
  INSERT INTO usage (organization, repositories, repository_rows, manifests, manifest_bytes, stored_manifest_bytes,
    tags, tag_rows, blobs, bytes, unreferenced, open_uploads, uploading, upload_rows, changed)
  VALUES (NEW.organization, coalesce(NEW.repositories, 0), coalesce(NEW.repository_rows, 0),
    coalesce(NEW.manifests, 0), coalesce(NEW.manifest_bytes, 0), coalesce(NEW.stored_manifest_bytes, 0),
    coalesce(NEW.tags, 0), coalesce(NEW.tag_rows, 0), coalesce(NEW.blobs, 0), coalesce(NEW.bytes, 0),
    coalesce(NEW.unreferenced, 0), coalesce(NEW.open_uploads, 0), coalesce(NEW.uploading, 0),
    coalesce(NEW.upload_rows, 0),
    iif(EXISTS (SELECT 1 FROM organizations WHERE name = NEW.organization AND quota_bytes IS NOT NULL),
      (SELECT n.changed FROM next_usage_change n), 0))
  ON CONFLICT (organization) DO UPDATE SET repositories = repositories + excluded.repositories,
    repository_rows = repository_rows + excluded.repository_rows, manifests = manifests + excluded.manifests,
    manifest_bytes = manifest_bytes + excluded.manifest_bytes,
    stored_manifest_bytes = stored_manifest_bytes + excluded.stored_manifest_bytes, tags = tags + excluded.tags,
    tag_rows = tag_rows + excluded.tag_rows,
    blobs = blobs + excluded.blobs, bytes = bytes + excluded.bytes, unreferenced = unreferenced + excluded.unreferenced,
    open_uploads = open_uploads + excluded.open_uploads, uploading = uploading + excluded.uploading,
    upload_rows = upload_rows + excluded.upload_rows,
    changed = iif((usage.changed > 0 OR excluded.changed > 0) AND (excluded.manifests <> 0 OR excluded.tags <> 0
      OR excluded.bytes + excluded.uploading + excluded.manifest_bytes <> 0),
      (SELECT n.changed FROM next_usage_change n), usage.changed);
END;

CREATE TRIGGER quota_has_changed AFTER UPDATE OF quota_bytes ON organizations
WHEN NEW.quota_bytes IS NOT NULL AND NEW.quota_bytes IS NOT OLD.quota_bytes
BEGIN
  UPDATE usage SET changed = (SELECT n.changed FROM next_usage_change n) WHERE organization = NEW.name;
END;

CREATE TABLE largest_organizations (
  name TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_by_day (
  day INTEGER NOT NULL,
  organization TEXT NOT NULL,
  noted_at INTEGER NOT NULL,
  used INTEGER NOT NULL,
  quota_bytes INTEGER,
  PRIMARY KEY (day, organization)
) STRICT, WITHOUT ROWID;

CREATE TABLE largest_repositories (
  organization TEXT PRIMARY KEY,
  measured_at INTEGER NOT NULL,
  measured TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX largest_repositories_by_time ON largest_repositories (measured_at);

CREATE TABLE usage_at_central (
  organization TEXT PRIMARY KEY,
  manifests INTEGER NOT NULL DEFAULT 0,
  tags INTEGER NOT NULL DEFAULT 0,
  blobs INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL,
  changed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER count_of_new_repository AFTER INSERT ON repositories
BEGIN
  INSERT INTO usage_added (organization, repositories, repository_rows)
  VALUES (substr(NEW.name, 1, instr(NEW.name, '/') - 1), NEW.listed, 1);
END;

CREATE TRIGGER count_of_listed_repository AFTER UPDATE OF listed ON repositories
WHEN NEW.listed <> OLD.listed
BEGIN
  INSERT INTO usage_added (organization, repositories)
  VALUES (substr(NEW.name, 1, instr(NEW.name, '/') - 1), NEW.listed - OLD.listed);
END;

CREATE TRIGGER count_of_gone_repository AFTER DELETE ON repositories
BEGIN
  INSERT INTO usage_added (organization, repositories, repository_rows)
  VALUES (substr(OLD.name, 1, instr(OLD.name, '/') - 1), - OLD.listed, -1);
END;

CREATE TABLE usage_manifests (
  organization TEXT NOT NULL,
  digest TEXT NOT NULL,
  size INTEGER NOT NULL,
  live INTEGER NOT NULL,
  known INTEGER NOT NULL,
  PRIMARY KEY (organization, digest)
) STRICT, WITHOUT ROWID;
CREATE VIEW manifests_gained AS
  SELECT '' AS repository, '' AS organization, '' AS digest, 0 AS size, 0 AS stored_bytes, '' AS descriptors
  WHERE false;
CREATE VIEW manifests_lost AS
  SELECT '' AS repository, '' AS organization, '' AS digest, 0 AS stored_bytes, '' AS descriptors WHERE false;

CREATE TRIGGER count_of_gained_manifest INSTEAD OF INSERT ON manifests_gained
BEGIN
  INSERT INTO usage_manifests (organization, digest, size, live, known)
  VALUES (NEW.organization, NEW.digest, NEW.size, 1, 0)
  ON CONFLICT (organization, digest) DO UPDATE SET live = live + 1;
  INSERT INTO usage_added (organization, manifests, manifest_bytes, stored_manifest_bytes, unreferenced)
  SELECT u.organization, u.known = 0, iif(u.known = 0 AND u.live = 1, u.size, 0), NEW.stored_bytes,
    - coalesce((
      SELECT sum(b.size) FROM usage_blobs b WHERE b.organization = NEW.organization AND b.known = 0
        AND b.digest IN (SELECT d.value ->> 'digest' FROM json_each(NEW.descriptors) AS d)
        AND NOT EXISTS (SELECT 1 FROM manifest_references r WHERE r.digest = b.digest
          AND r.repository >= NEW.organization || '/' AND r.repository < NEW.organization || '0')), 0)
  FROM usage_manifests u WHERE u.organization = NEW.organization AND u.digest = NEW.digest;
  INSERT INTO manifest_references (digest, repository, kind, manifest, size)
  SELECT d.value ->> 'digest', NEW.repository, d.value ->> 'kind', NEW.digest, d.value ->> 'size'
  FROM json_each(NEW.descriptors) AS d;
  UPDATE links SET counts = 1 WHERE repository = NEW.repository AND counts <> 1
    AND digest IN (SELECT d.value ->> 'digest' FROM json_each(NEW.descriptors) AS d);
END;

CREATE TRIGGER count_of_lost_manifest INSTEAD OF INSERT ON manifests_lost
BEGIN
  DELETE FROM manifest_references WHERE (digest, repository, kind, manifest) IN (
    SELECT d.value ->> 'digest', NEW.repository, d.value ->> 'kind', NEW.digest FROM json_each(NEW.descriptors) AS d);
  INSERT INTO usage_added (organization, manifests, manifest_bytes, stored_manifest_bytes, unreferenced)
  SELECT u.organization, - (u.known = 0), - iif(u.known = 0 AND u.live = 1, u.size, 0), NEW.stored_bytes,
    coalesce((
      SELECT sum(b.size) FROM usage_blobs b WHERE b.organization = NEW.organization AND b.known = 0
        AND b.digest IN (SELECT d.value ->> 'digest' FROM json_each(NEW.descriptors) AS d)
        AND NOT EXISTS (SELECT 1 FROM manifest_references r WHERE r.digest = b.digest
          AND r.repository >= NEW.organization || '/' AND r.repository < NEW.organization || '0')), 0)
  FROM usage_manifests u WHERE u.organization = NEW.organization AND u.digest = NEW.digest;
  DELETE FROM usage_manifests WHERE organization = NEW.organization AND digest = NEW.digest AND live <= 1;
  UPDATE usage_manifests SET live = live - 1
  WHERE organization = NEW.organization AND digest = NEW.digest AND live > 1;
  UPDATE links SET counts = 0 WHERE repository = NEW.repository AND counts = 1
    AND digest IN (SELECT d.value ->> 'digest' FROM json_each(NEW.descriptors) AS d)
    AND NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.digest = links.digest AND r.repository = links.repository);
END;

CREATE TRIGGER count_of_new_manifest AFTER INSERT ON manifests
WHEN NEW.created_version > NEW.deleted_version
BEGIN
  INSERT INTO manifests_gained (repository, organization, digest, size, stored_bytes, descriptors)
  VALUES (NEW.repository, substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.digest, NEW.size, NEW.size,
    coalesce(NEW.descriptors, (SELECT l.descriptors FROM large_descriptors l
      WHERE l.repository = NEW.repository AND l.digest = NEW.digest)));
END;

CREATE TRIGGER count_of_revived_manifest AFTER UPDATE OF created_version, deleted_version ON manifests
WHEN NEW.created_version > NEW.deleted_version AND OLD.created_version <= OLD.deleted_version
BEGIN
  INSERT INTO manifests_gained (repository, organization, digest, size, stored_bytes, descriptors)
  VALUES (NEW.repository, substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.digest, NEW.size,
    NEW.size - OLD.size, coalesce(NEW.descriptors, (SELECT l.descriptors FROM large_descriptors l
      WHERE l.repository = NEW.repository AND l.digest = NEW.digest)));
END;

CREATE TRIGGER links_of_hidden_manifest AFTER UPDATE OF created_version ON manifests
WHEN NEW.created_version > NEW.deleted_version AND OLD.created_version > OLD.deleted_version
  AND NEW.created_version > OLD.created_version
  AND EXISTS (SELECT 1 FROM unswept_removals
    WHERE name IN (NEW.repository, substr(NEW.repository, 1, instr(NEW.repository, '/') - 1)))
BEGIN
  UPDATE links SET counts = 1 WHERE repository = NEW.repository AND counts = 2
    AND digest IN (SELECT d.value ->> 'digest' FROM json_each(coalesce(NEW.descriptors,
      (SELECT l.descriptors FROM large_descriptors l
        WHERE l.repository = NEW.repository AND l.digest = NEW.digest))) AS d);
END;

CREATE TRIGGER count_of_dead_manifest AFTER UPDATE OF created_version, deleted_version ON manifests
WHEN NEW.created_version <= NEW.deleted_version AND OLD.created_version > OLD.deleted_version
BEGIN
  INSERT INTO manifests_lost (repository, organization, digest, stored_bytes, descriptors)
  VALUES (NEW.repository, substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.digest, NEW.size - OLD.size,
    coalesce(OLD.descriptors, (SELECT l.descriptors FROM large_descriptors l
      WHERE l.repository = OLD.repository AND l.digest = OLD.digest)));
END;

CREATE TRIGGER count_of_gone_manifest AFTER DELETE ON manifests
WHEN OLD.created_version > OLD.deleted_version
BEGIN
  INSERT INTO manifests_lost (repository, organization, digest, stored_bytes, descriptors)
  VALUES (OLD.repository, substr(OLD.repository, 1, instr(OLD.repository, '/') - 1), OLD.digest, - OLD.size,
    coalesce(OLD.descriptors, (SELECT l.descriptors FROM large_descriptors l
      WHERE l.repository = OLD.repository AND l.digest = OLD.digest)));
  DELETE FROM large_descriptors WHERE repository = OLD.repository AND digest = OLD.digest;
END;

CREATE TRIGGER descriptors_of_gone_dead_manifest AFTER DELETE ON manifests
WHEN OLD.created_version <= OLD.deleted_version
BEGIN
  DELETE FROM large_descriptors WHERE repository = OLD.repository AND digest = OLD.digest;
END;

CREATE TRIGGER document_of_new_dead_manifest AFTER INSERT ON manifests
WHEN NEW.created_version <= NEW.deleted_version AND NEW.size > 0
BEGIN
  INSERT INTO usage_added (organization, stored_manifest_bytes)
  VALUES (substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.size);
END;

CREATE TRIGGER document_of_manifest AFTER UPDATE OF size ON manifests
WHEN NEW.size <> OLD.size
  AND (NEW.created_version > NEW.deleted_version) = (OLD.created_version > OLD.deleted_version)
BEGIN
  INSERT INTO usage_added (organization, stored_manifest_bytes)
  VALUES (substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.size - OLD.size);
END;

CREATE TRIGGER document_of_gone_dead_manifest AFTER DELETE ON manifests
WHEN OLD.created_version <= OLD.deleted_version AND OLD.size > 0
BEGIN
  INSERT INTO usage_added (organization, stored_manifest_bytes)
  VALUES (substr(OLD.repository, 1, instr(OLD.repository, '/') - 1), - OLD.size);
END;

CREATE TABLE known_tags (
  repository TEXT NOT NULL,
  name TEXT NOT NULL,
  PRIMARY KEY (repository, name)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER count_of_new_tag AFTER INSERT ON tags
BEGIN
  INSERT INTO usage_added (organization, tags, tag_rows)
  VALUES (substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.visible, 1);
END;

CREATE TRIGGER count_of_shown_tag AFTER UPDATE OF visible ON tags
WHEN NEW.visible = 1 AND OLD.visible = 0
BEGIN
  INSERT INTO usage_added (organization, tags)
  VALUES (substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), 1);
END;

CREATE TRIGGER count_of_hidden_tag AFTER UPDATE OF visible ON tags
WHEN NEW.visible = 0 AND OLD.visible = 1
BEGIN
  INSERT INTO usage_added (organization, tags)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), -1
  WHERE NOT EXISTS (SELECT 1 FROM known_tags WHERE repository = NEW.repository AND name = NEW.name);
  DELETE FROM known_tags WHERE repository = NEW.repository AND name = NEW.name;
END;

CREATE TRIGGER count_of_gone_tag AFTER DELETE ON tags
BEGIN
  INSERT INTO usage_added (organization, tags, tag_rows)
  VALUES (substr(OLD.repository, 1, instr(OLD.repository, '/') - 1), - (OLD.visible = 1
    AND NOT EXISTS (SELECT 1 FROM known_tags WHERE repository = OLD.repository AND name = OLD.name)), -1);
  DELETE FROM known_tags WHERE OLD.visible = 1 AND repository = OLD.repository AND name = OLD.name;
END;

CREATE TABLE usage_blobs (
  organization TEXT NOT NULL,
  digest TEXT NOT NULL,
  size INTEGER,
  uses INTEGER NOT NULL,
  known INTEGER NOT NULL,
  PRIMARY KEY (organization, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_blobs_without_size ON usage_blobs (digest) WHERE size IS NULL;

CREATE VIEW blobs_gained AS
  SELECT '' AS organization, '' AS digest, 0 AS size, 0 AS known, 0 AS open_uploads, 0 AS uploading WHERE false;

CREATE TRIGGER usage_of_gained_blob INSTEAD OF INSERT ON blobs_gained
BEGIN
  INSERT INTO usage_blobs (organization, digest, size, uses, known)
  VALUES (NEW.organization, NEW.digest, NEW.size, 1, NEW.known)
  ON CONFLICT (organization, digest) DO UPDATE SET uses = uses + 1;
  INSERT INTO usage_added (organization, blobs, bytes, unreferenced, open_uploads, uploading)
  SELECT u.organization, u.uses = 1 AND u.known = 0, iif(u.uses = 1 AND u.known = 0, u.size, 0),
    iif(u.uses = 1 AND u.known = 0 AND NOT EXISTS (SELECT 1 FROM manifest_references r WHERE r.digest = u.digest
      AND r.repository >= u.organization || '/' AND r.repository < u.organization || '0'), u.size, 0),
    NEW.open_uploads, NEW.uploading
  FROM usage_blobs u WHERE u.organization = NEW.organization AND u.digest = NEW.digest
    AND ((u.uses = 1 AND u.known = 0) OR NEW.open_uploads <> 0);
END;

CREATE TRIGGER usage_without_blob AFTER UPDATE OF uses ON usage_blobs
WHEN NEW.uses <= 0
BEGIN
  DELETE FROM usage_blobs WHERE organization = NEW.organization AND digest = NEW.digest;
END;

CREATE TRIGGER usage_of_sized_blob AFTER UPDATE OF size ON usage_blobs
WHEN NEW.known = 0 AND coalesce(NEW.size, 0) <> coalesce(OLD.size, 0)
BEGIN
  INSERT INTO usage_added (organization, bytes, unreferenced)
  VALUES (NEW.organization, coalesce(NEW.size, 0) - coalesce(OLD.size, 0),
    iif(NOT EXISTS (SELECT 1 FROM manifest_references r WHERE r.digest = NEW.digest
        AND r.repository >= NEW.organization || '/' AND r.repository < NEW.organization || '0'),
      coalesce(NEW.size, 0) - coalesce(OLD.size, 0), 0));
END;

CREATE TRIGGER usage_of_gone_blob AFTER DELETE ON usage_blobs
BEGIN
  INSERT INTO usage_added (organization, blobs, bytes, unreferenced)
  VALUES (OLD.organization, - (OLD.known = 0), - iif(OLD.known = 0, coalesce(OLD.size, 0), 0),
    - iif(OLD.known = 0 AND NOT EXISTS (SELECT 1 FROM manifest_references r WHERE r.digest = OLD.digest
        AND r.repository >= OLD.organization || '/' AND r.repository < OLD.organization || '0'),
      coalesce(OLD.size, 0), 0));
END;

CREATE TRIGGER usage_of_new_location AFTER INSERT ON locations
BEGIN
  UPDATE usage_blobs SET size = NEW.size WHERE digest = NEW.digest AND size IS NULL;
END;

CREATE TRIGGER usage_of_new_link AFTER INSERT ON links
WHEN NEW.counts > 0 AND NEW.usable_until IS NOT 0
BEGIN
  INSERT INTO blobs_gained (organization, digest, size, known, open_uploads, uploading)
  VALUES (substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.digest,
    (SELECT l.size FROM locations l WHERE l.digest = NEW.digest LIMIT 1), NEW.usable_until IS NOT NULL, 0, 0);
END;

CREATE TRIGGER usage_of_counting_link AFTER UPDATE OF counts ON links
WHEN NEW.counts > 0 AND OLD.counts = 0
BEGIN
  INSERT INTO blobs_gained (organization, digest, size, known, open_uploads, uploading)
  VALUES (substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.digest,
    (SELECT l.size FROM locations l WHERE l.digest = NEW.digest LIMIT 1), 0, 0, 0);
END;

CREATE TRIGGER usage_of_ended_link AFTER UPDATE OF counts ON links
WHEN NEW.counts = 0 AND OLD.counts > 0
BEGIN
  UPDATE usage_blobs SET uses = uses - 1
  WHERE organization = substr(NEW.repository, 1, instr(NEW.repository, '/') - 1) AND digest = NEW.digest;
END;

CREATE TRIGGER usage_of_gone_link AFTER DELETE ON links
WHEN OLD.counts > 0
BEGIN
  UPDATE usage_blobs SET uses = uses - 1
  WHERE organization = substr(OLD.repository, 1, instr(OLD.repository, '/') - 1) AND digest = OLD.digest;
END;

CREATE TRIGGER usage_of_new_upload AFTER INSERT ON uploads
BEGIN
  INSERT INTO usage_added (organization, open_uploads, uploading, upload_rows)
  VALUES (substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.state = 'open',
    iif(NEW.state = 'open', NEW.size, 0), NEW.rows);
END;

CREATE TRIGGER usage_of_upload AFTER UPDATE OF state, size ON uploads
WHEN NEW.state <> 'finished' AND ((NEW.state = 'open') <> (OLD.state = 'open')
  OR (NEW.state = 'open' AND NEW.size <> OLD.size))
BEGIN
  INSERT INTO usage_added (organization, open_uploads, uploading, upload_rows)
  VALUES (substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), (NEW.state = 'open') - (OLD.state = 'open'),
    iif(NEW.state = 'open', NEW.size, 0) - iif(OLD.state = 'open', OLD.size, 0), NEW.rows - OLD.rows);
END;

CREATE TRIGGER blob_of_upload AFTER UPDATE OF state ON uploads
WHEN NEW.state = 'finished' AND OLD.state = 'open'
BEGIN
  INSERT INTO usage_added (organization, open_uploads, uploading)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), -1, - OLD.size
  WHERE EXISTS (SELECT 1 FROM links WHERE repository = NEW.repository AND digest = NEW.digest);
  INSERT INTO blobs_gained (organization, digest, size, known, open_uploads, uploading)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.digest, NEW.size, 0, -1, - OLD.size
  WHERE NOT EXISTS (SELECT 1 FROM links WHERE repository = NEW.repository AND digest = NEW.digest);
  INSERT INTO links (repository, digest, created_at, usable_until)
  VALUES (NEW.repository, NEW.digest, NEW.finished_at, 0) ON CONFLICT DO NOTHING;
END;

CREATE TRIGGER usage_of_gone_upload AFTER DELETE ON uploads
WHEN OLD.state = 'open'
BEGIN
  INSERT INTO usage_added (organization, open_uploads, uploading)
  VALUES (substr(OLD.repository, 1, instr(OLD.repository, '/') - 1), -1, - OLD.size);
END;
