-- What organizations use of a store, kept by triggers, so that no way of writing can forget it. docs/storage.md explains
-- each table, column and trigger.

ALTER TABLE organizations ADD COLUMN quota_bytes INTEGER;

-- 1 once the last manifest that named the blob has been collected: it is in flight no more.
ALTER TABLE links ADD COLUMN released INTEGER NOT NULL DEFAULT 0;

-- How far a node has heard of the use of organizations at central. NULL: never.
ALTER TABLE followers ADD COLUMN usage_changed INTEGER;

-- A row for each blob that counts for an organization.
CREATE TABLE usage_blobs (
  organization TEXT NOT NULL,
  digest TEXT NOT NULL,
  size INTEGER,
  live INTEGER NOT NULL,
  fresh INTEGER NOT NULL,
  known INTEGER NOT NULL,
  PRIMARY KEY (organization, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_blobs_without_size ON usage_blobs (digest) WHERE size IS NULL;

CREATE TABLE usage (
  organization TEXT PRIMARY KEY,
  blobs INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  unreferenced INTEGER NOT NULL,
  uploading INTEGER NOT NULL,
  changed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_changed ON usage (changed) WHERE changed > 0;

CREATE TABLE usage_at_central (
  organization TEXT PRIMARY KEY,
  bytes INTEGER NOT NULL,
  changed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- CROSS JOIN, here and below, keeps the order of a join: without statistics the planner can start from all of a repository.

-- What is there already.
INSERT INTO usage_blobs (organization, digest, size, live, fresh, known)
SELECT substr(k.repository, 1, instr(k.repository, '/') - 1) AS organization, k.digest,
  (SELECT l.size FROM locations l WHERE l.digest = k.digest LIMIT 1) AS size,
  sum((SELECT count(*) FROM manifest_references r CROSS JOIN manifests m ON m.repository = r.repository AND m.digest = r.manifest
    WHERE r.repository = k.repository AND r.digest = k.digest AND r.kind <> 'subject' AND m.created_version > m.deleted_version)) AS live,
  sum(NOT EXISTS (SELECT 1 FROM manifest_references r
    WHERE r.repository = k.repository AND r.digest = k.digest AND r.kind <> 'subject')) AS fresh,
  0
FROM links k GROUP BY 1, 2 HAVING live > 0 OR fresh > 0;

INSERT INTO usage (organization, blobs, bytes, unreferenced, uploading, changed)
SELECT organization, sum(blobs), sum(bytes), sum(unreferenced), sum(uploading), 0 FROM (
  SELECT organization, 1 AS blobs, coalesce(size, 0) AS bytes, iif(live = 0, coalesce(size, 0), 0) AS unreferenced, 0 AS uploading
  FROM usage_blobs
  UNION ALL
  SELECT substr(repository, 1, instr(repository, '/') - 1), 0, 0, 0, size FROM uploads WHERE state = 'open')
GROUP BY organization;

-- From the rows of blobs to the sums. What central is known to count is left to it.
CREATE TRIGGER usage_of_new_blob AFTER INSERT ON usage_blobs BEGIN
  INSERT INTO usage (organization, blobs, bytes, unreferenced, uploading, changed)
  SELECT NEW.organization, 1, iif(NEW.known = 0, coalesce(NEW.size, 0), 0),
    iif(NEW.known = 0 AND NEW.live = 0, coalesce(NEW.size, 0), 0), 0, 0 WHERE true
  ON CONFLICT (organization) DO UPDATE SET
    blobs = blobs + 1, bytes = bytes + excluded.bytes, unreferenced = unreferenced + excluded.unreferenced;
END;

CREATE TRIGGER usage_of_blob AFTER UPDATE ON usage_blobs
WHEN iif(NEW.known = 0, coalesce(NEW.size, 0), 0) <> iif(OLD.known = 0, coalesce(OLD.size, 0), 0)
  OR iif(NEW.known = 0 AND NEW.live = 0 AND NEW.fresh > 0, coalesce(NEW.size, 0), 0)
    <> iif(OLD.known = 0 AND OLD.live = 0 AND OLD.fresh > 0, coalesce(OLD.size, 0), 0)
BEGIN
  UPDATE usage SET
    bytes = bytes + iif(NEW.known = 0, coalesce(NEW.size, 0), 0) - iif(OLD.known = 0, coalesce(OLD.size, 0), 0),
    unreferenced = unreferenced + iif(NEW.known = 0 AND NEW.live = 0 AND NEW.fresh > 0, coalesce(NEW.size, 0), 0)
      - iif(OLD.known = 0 AND OLD.live = 0 AND OLD.fresh > 0, coalesce(OLD.size, 0), 0)
  WHERE organization = NEW.organization;
END;

CREATE TRIGGER usage_without_blob AFTER UPDATE ON usage_blobs WHEN NEW.live <= 0 AND NEW.fresh <= 0 BEGIN
  DELETE FROM usage_blobs WHERE organization = NEW.organization AND digest = NEW.digest;
END;

CREATE TRIGGER usage_of_gone_blob AFTER DELETE ON usage_blobs BEGIN
  UPDATE usage SET blobs = blobs - 1, bytes = bytes - iif(OLD.known = 0, coalesce(OLD.size, 0), 0),
    unreferenced = unreferenced - iif(OLD.known = 0 AND OLD.live = 0 AND OLD.fresh > 0, coalesce(OLD.size, 0), 0)
  WHERE organization = OLD.organization;
END;

-- Nodes ask central for what has changed of organizations that have a quota. Greater than all before, and than those of a
-- database that was restored to an earlier moment.
CREATE TRIGGER usage_has_begun AFTER INSERT ON usage
WHEN EXISTS (SELECT 1 FROM organizations WHERE name = NEW.organization AND quota_bytes IS NOT NULL) BEGIN
  UPDATE usage SET changed = max(CAST(unixepoch('subsec') * 1000 AS INTEGER),
    1 + coalesce((SELECT max(changed) FROM usage WHERE changed > 0), 0)) WHERE organization = NEW.organization;
END;

CREATE TRIGGER usage_has_changed AFTER UPDATE OF bytes, uploading ON usage
WHEN NEW.bytes + NEW.uploading <> OLD.bytes + OLD.uploading
  AND EXISTS (SELECT 1 FROM organizations WHERE name = NEW.organization AND quota_bytes IS NOT NULL) BEGIN
  UPDATE usage SET changed = max(CAST(unixepoch('subsec') * 1000 AS INTEGER),
    1 + coalesce((SELECT max(changed) FROM usage WHERE changed > 0), 0)) WHERE organization = NEW.organization;
END;

CREATE TRIGGER quota_has_changed AFTER UPDATE OF quota_bytes ON organizations
WHEN NEW.quota_bytes IS NOT NULL AND NEW.quota_bytes IS NOT OLD.quota_bytes BEGIN
  UPDATE usage SET changed = max(CAST(unixepoch('subsec') * 1000 AS INTEGER),
    1 + coalesce((SELECT max(changed) FROM usage WHERE changed > 0), 0)) WHERE organization = NEW.name;
END;

-- Links.
CREATE TRIGGER usage_of_new_link AFTER INSERT ON links BEGIN
  INSERT INTO usage_blobs (organization, digest, size, live, fresh, known)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.digest,
    (SELECT l.size FROM locations l WHERE l.digest = NEW.digest LIMIT 1), use.live, use.fresh, NEW.usable_until IS NOT NULL
  FROM (SELECT
    (SELECT count(*) FROM manifest_references r CROSS JOIN manifests m ON m.repository = r.repository AND m.digest = r.manifest
      WHERE r.repository = NEW.repository AND r.digest = NEW.digest AND r.kind <> 'subject'
        AND m.created_version > m.deleted_version) AS live,
    NEW.released = 0 AND NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.repository = NEW.repository AND r.digest = NEW.digest AND r.kind <> 'subject') AS fresh) AS use
  WHERE use.live > 0 OR use.fresh > 0
  ON CONFLICT (organization, digest) DO UPDATE SET live = live + excluded.live, fresh = fresh + excluded.fresh;
END;

CREATE TRIGGER usage_of_gone_link AFTER DELETE ON links BEGIN
  UPDATE usage_blobs SET live = usage_blobs.live - use.live, fresh = usage_blobs.fresh - use.fresh
  FROM (SELECT
    (SELECT count(*) FROM manifest_references r CROSS JOIN manifests m ON m.repository = r.repository AND m.digest = r.manifest
      WHERE r.repository = OLD.repository AND r.digest = OLD.digest AND r.kind <> 'subject'
        AND m.created_version > m.deleted_version) AS live,
    OLD.released = 0 AND NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.repository = OLD.repository AND r.digest = OLD.digest AND r.kind <> 'subject') AS fresh) AS use
  WHERE organization = substr(OLD.repository, 1, instr(OLD.repository, '/') - 1) AND digest = OLD.digest
    AND (use.live > 0 OR use.fresh > 0);
END;

-- References, which come after their manifest and go after it.
CREATE TRIGGER usage_of_new_reference AFTER INSERT ON manifest_references WHEN NEW.kind <> 'subject' BEGIN
  INSERT INTO usage_blobs (organization, digest, size, live, fresh, known)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.digest,
    (SELECT l.size FROM locations l WHERE l.digest = NEW.digest LIMIT 1), use.live, - use.first, 0
  FROM (SELECT
    EXISTS (SELECT 1 FROM manifests m WHERE m.repository = NEW.repository AND m.digest = NEW.manifest
      AND m.created_version > m.deleted_version) AS live,
    k.released = 0 AND NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.repository = NEW.repository AND r.digest = NEW.digest AND r.kind <> 'subject'
        AND NOT (r.manifest = NEW.manifest AND r.kind = NEW.kind)) AS first
    FROM links k WHERE k.repository = NEW.repository AND k.digest = NEW.digest) AS use
  WHERE use.live > 0 OR use.first > 0
  ON CONFLICT (organization, digest) DO UPDATE SET live = live + excluded.live, fresh = fresh + excluded.fresh;
END;

CREATE TRIGGER usage_of_gone_reference AFTER DELETE ON manifest_references WHEN OLD.kind <> 'subject' BEGIN
  UPDATE usage_blobs SET live = live - 1
  WHERE organization = substr(OLD.repository, 1, instr(OLD.repository, '/') - 1) AND digest = OLD.digest
    AND EXISTS (SELECT 1 FROM manifests m WHERE m.repository = OLD.repository AND m.digest = OLD.manifest
      AND m.created_version > m.deleted_version)
    AND EXISTS (SELECT 1 FROM links k WHERE k.repository = OLD.repository AND k.digest = OLD.digest);
  UPDATE links SET released = 1
  WHERE repository = OLD.repository AND digest = OLD.digest AND released = 0
    AND NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.repository = OLD.repository AND r.digest = OLD.digest AND r.kind <> 'subject');
END;

-- Manifests that come to life, and that die.
CREATE TRIGGER usage_of_new_manifest AFTER INSERT ON manifests WHEN NEW.created_version > NEW.deleted_version BEGIN
  INSERT INTO usage_blobs (organization, digest, size, live, fresh, known)
  SELECT substr(r.repository, 1, instr(r.repository, '/') - 1), r.digest,
    (SELECT l.size FROM locations l WHERE l.digest = r.digest LIMIT 1), 1, 0, 0
  FROM manifest_references r CROSS JOIN links k ON k.repository = r.repository AND k.digest = r.digest
  WHERE r.repository = NEW.repository AND r.manifest = NEW.digest AND r.kind <> 'subject'
  ON CONFLICT (organization, digest) DO UPDATE SET live = live + 1;
END;

CREATE TRIGGER usage_of_revived_manifest AFTER UPDATE OF created_version, deleted_version ON manifests
WHEN NEW.created_version > NEW.deleted_version AND OLD.created_version <= OLD.deleted_version BEGIN
  INSERT INTO usage_blobs (organization, digest, size, live, fresh, known)
  SELECT substr(r.repository, 1, instr(r.repository, '/') - 1), r.digest,
    (SELECT l.size FROM locations l WHERE l.digest = r.digest LIMIT 1), 1, 0, 0
  FROM manifest_references r CROSS JOIN links k ON k.repository = r.repository AND k.digest = r.digest
  WHERE r.repository = NEW.repository AND r.manifest = NEW.digest AND r.kind <> 'subject'
  ON CONFLICT (organization, digest) DO UPDATE SET live = live + 1;
END;

CREATE TRIGGER usage_of_dead_manifest AFTER UPDATE OF created_version, deleted_version ON manifests
WHEN NEW.created_version <= NEW.deleted_version AND OLD.created_version > OLD.deleted_version BEGIN
  UPDATE usage_blobs SET live = live - (
    SELECT count(*) FROM manifest_references r
    WHERE r.repository = NEW.repository AND r.digest = usage_blobs.digest AND r.manifest = NEW.digest AND r.kind <> 'subject')
  WHERE organization = substr(NEW.repository, 1, instr(NEW.repository, '/') - 1) AND digest IN (
    SELECT r.digest FROM manifest_references r CROSS JOIN links k ON k.repository = r.repository AND k.digest = r.digest
    WHERE r.repository = NEW.repository AND r.manifest = NEW.digest AND r.kind <> 'subject');
END;

CREATE TRIGGER usage_of_gone_manifest AFTER DELETE ON manifests WHEN OLD.created_version > OLD.deleted_version BEGIN
  UPDATE usage_blobs SET live = live - (
    SELECT count(*) FROM manifest_references r
    WHERE r.repository = OLD.repository AND r.digest = usage_blobs.digest AND r.manifest = OLD.digest AND r.kind <> 'subject')
  WHERE organization = substr(OLD.repository, 1, instr(OLD.repository, '/') - 1) AND digest IN (
    SELECT r.digest FROM manifest_references r CROSS JOIN links k ON k.repository = r.repository AND k.digest = r.digest
    WHERE r.repository = OLD.repository AND r.manifest = OLD.digest AND r.kind <> 'subject');
END;

-- A link can come before the bytes are here.
CREATE TRIGGER usage_of_new_location AFTER INSERT ON locations BEGIN
  UPDATE usage_blobs SET size = NEW.size WHERE digest = NEW.digest AND size IS NULL;
END;

-- Sessions.
CREATE TRIGGER usage_of_new_upload AFTER INSERT ON uploads WHEN NEW.state = 'open' AND NEW.size > 0 BEGIN
  INSERT INTO usage (organization, blobs, bytes, unreferenced, uploading, changed)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), 0, 0, 0, NEW.size, 0 WHERE true
  ON CONFLICT (organization) DO UPDATE SET uploading = uploading + excluded.uploading;
END;

CREATE TRIGGER usage_of_upload AFTER UPDATE OF state, size ON uploads
WHEN iif(NEW.state = 'open', NEW.size, 0) <> iif(OLD.state = 'open', OLD.size, 0) BEGIN
  UPDATE usage SET uploading = uploading + iif(NEW.state = 'open', NEW.size, 0) - iif(OLD.state = 'open', OLD.size, 0)
  WHERE organization = substr(NEW.repository, 1, instr(NEW.repository, '/') - 1);
END;

CREATE TRIGGER usage_of_gone_upload AFTER DELETE ON uploads WHEN OLD.state = 'open' AND OLD.size > 0 BEGIN
  UPDATE usage SET uploading = uploading - OLD.size
  WHERE organization = substr(OLD.repository, 1, instr(OLD.repository, '/') - 1);
END;
