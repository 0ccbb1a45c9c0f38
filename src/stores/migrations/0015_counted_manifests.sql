-- Manifests, their bytes, tags and open uploads count for the organization, kept by triggers as the bytes of blobs are.
-- docs/storage.md explains each table, column and trigger.

ALTER TABLE usage ADD COLUMN manifests INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN manifest_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN stored_manifest_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN tags INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN open_uploads INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_at_central ADD COLUMN manifests INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_at_central ADD COLUMN tags INTEGER NOT NULL DEFAULT 0;

-- At a node, the tags that show and that central counts.
CREATE TABLE known_tags (
  repository TEXT NOT NULL,
  name TEXT NOT NULL,
  PRIMARY KEY (repository, name)
) STRICT, WITHOUT ROWID;

-- A row for each manifest that lives in a repository of the organization.
CREATE TABLE usage_manifests (
  organization TEXT NOT NULL,
  digest TEXT NOT NULL,
  size INTEGER NOT NULL,
  live INTEGER NOT NULL,
  known INTEGER NOT NULL,
  PRIMARY KEY (organization, digest)
) STRICT, WITHOUT ROWID;

-- What is there already. A node that follows the feed again leaves to central what it has no marker of.
INSERT INTO usage_manifests (organization, digest, size, live, known)
SELECT substr(repository, 1, instr(repository, '/') - 1) AS organization, digest, max(size), count(*), 0
FROM manifests WHERE created_version > deleted_version GROUP BY 1, 2;

INSERT INTO usage (organization, blobs, bytes, unreferenced, uploading, changed, manifests, manifest_bytes,
  stored_manifest_bytes, tags, open_uploads)
SELECT organization, 0, 0, 0, 0, 0, sum(manifests), sum(manifest_bytes), sum(stored), sum(tags), sum(open_uploads) FROM (
  SELECT organization, live AS manifests, size AS manifest_bytes, 0 AS stored, 0 AS tags, 0 AS open_uploads FROM usage_manifests
  UNION ALL
  SELECT substr(repository, 1, instr(repository, '/') - 1), 0, 0, size, 0, 0 FROM manifests WHERE size > 0
  UNION ALL
  SELECT substr(repository, 1, instr(repository, '/') - 1), 0, 0, 0, 1, 0 FROM tags WHERE visible = 1
  UNION ALL
  SELECT substr(repository, 1, instr(repository, '/') - 1), 0, 0, 0, 0, 1 FROM uploads WHERE state = 'open')
WHERE true GROUP BY organization
ON CONFLICT (organization) DO UPDATE SET manifests = excluded.manifests, manifest_bytes = excluded.manifest_bytes,
  stored_manifest_bytes = excluded.stored_manifest_bytes, tags = excluded.tags, open_uploads = excluded.open_uploads;

UPDATE followers SET usage_changed = NULL;

-- The count of blobs leaves to central what their bytes do.
UPDATE usage SET blobs = (
  SELECT count(*) FROM usage_blobs u WHERE u.organization = usage.organization AND u.known = 0);

DROP TRIGGER usage_of_new_blob;
CREATE TRIGGER usage_of_new_blob AFTER INSERT ON usage_blobs BEGIN
  INSERT INTO usage (organization, blobs, bytes, unreferenced, uploading, changed)
  SELECT NEW.organization, NEW.known = 0, iif(NEW.known = 0, coalesce(NEW.size, 0), 0),
    iif(NEW.known = 0 AND NEW.live = 0, coalesce(NEW.size, 0), 0), 0, 0 WHERE true
  ON CONFLICT (organization) DO UPDATE SET
    blobs = blobs + excluded.blobs, bytes = bytes + excluded.bytes, unreferenced = unreferenced + excluded.unreferenced;
END;

DROP TRIGGER usage_of_blob;
CREATE TRIGGER usage_of_blob AFTER UPDATE ON usage_blobs
WHEN NEW.known <> OLD.known
  OR iif(NEW.known = 0, coalesce(NEW.size, 0), 0) <> iif(OLD.known = 0, coalesce(OLD.size, 0), 0)
  OR iif(NEW.known = 0 AND NEW.live = 0 AND NEW.fresh > 0, coalesce(NEW.size, 0), 0)
    <> iif(OLD.known = 0 AND OLD.live = 0 AND OLD.fresh > 0, coalesce(OLD.size, 0), 0)
BEGIN
  UPDATE usage SET blobs = blobs + (NEW.known = 0) - (OLD.known = 0),
    bytes = bytes + iif(NEW.known = 0, coalesce(NEW.size, 0), 0) - iif(OLD.known = 0, coalesce(OLD.size, 0), 0),
    unreferenced = unreferenced + iif(NEW.known = 0 AND NEW.live = 0 AND NEW.fresh > 0, coalesce(NEW.size, 0), 0)
      - iif(OLD.known = 0 AND OLD.live = 0 AND OLD.fresh > 0, coalesce(OLD.size, 0), 0)
  WHERE organization = NEW.organization;
END;

DROP TRIGGER usage_of_gone_blob;
CREATE TRIGGER usage_of_gone_blob AFTER DELETE ON usage_blobs BEGIN
  UPDATE usage SET blobs = blobs - (OLD.known = 0), bytes = bytes - iif(OLD.known = 0, coalesce(OLD.size, 0), 0),
    unreferenced = unreferenced - iif(OLD.known = 0 AND OLD.live = 0 AND OLD.fresh > 0, coalesce(OLD.size, 0), 0)
  WHERE organization = OLD.organization;
END;

-- Manifests that come to life. One row of the sums is written, whatever changes in it.
CREATE TRIGGER count_of_new_manifest AFTER INSERT ON manifests WHEN NEW.created_version > NEW.deleted_version BEGIN
  INSERT INTO usage_manifests (organization, digest, size, live, known)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.digest, NEW.size, 1, 0 WHERE true
  ON CONFLICT (organization, digest) DO UPDATE SET live = live + 1;
  INSERT INTO usage (organization, blobs, bytes, unreferenced, uploading, changed, manifests, manifest_bytes, stored_manifest_bytes)
  SELECT u.organization, 0, 0, 0, 0, 0, u.known = 0, iif(u.known = 0 AND u.live = 1, u.size, 0), NEW.size
  FROM usage_manifests u
  WHERE u.organization = substr(NEW.repository, 1, instr(NEW.repository, '/') - 1) AND u.digest = NEW.digest
  ON CONFLICT (organization) DO UPDATE SET manifests = manifests + excluded.manifests,
    manifest_bytes = manifest_bytes + excluded.manifest_bytes,
    stored_manifest_bytes = stored_manifest_bytes + excluded.stored_manifest_bytes;
END;

CREATE TRIGGER count_of_revived_manifest AFTER UPDATE OF created_version, deleted_version ON manifests
WHEN NEW.created_version > NEW.deleted_version AND OLD.created_version <= OLD.deleted_version BEGIN
  INSERT INTO usage_manifests (organization, digest, size, live, known)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.digest, NEW.size, 1, 0 WHERE true
  ON CONFLICT (organization, digest) DO UPDATE SET live = live + 1;
  INSERT INTO usage (organization, blobs, bytes, unreferenced, uploading, changed, manifests, manifest_bytes, stored_manifest_bytes)
  SELECT u.organization, 0, 0, 0, 0, 0, u.known = 0, iif(u.known = 0 AND u.live = 1, u.size, 0), NEW.size - OLD.size
  FROM usage_manifests u
  WHERE u.organization = substr(NEW.repository, 1, instr(NEW.repository, '/') - 1) AND u.digest = NEW.digest
  ON CONFLICT (organization) DO UPDATE SET manifests = manifests + excluded.manifests,
    manifest_bytes = manifest_bytes + excluded.manifest_bytes,
    stored_manifest_bytes = stored_manifest_bytes + excluded.stored_manifest_bytes;
END;

-- Manifests that die, or go.
CREATE TRIGGER count_of_dead_manifest AFTER UPDATE OF created_version, deleted_version ON manifests
WHEN NEW.created_version <= NEW.deleted_version AND OLD.created_version > OLD.deleted_version BEGIN
  UPDATE usage SET manifests = usage.manifests - (u.known = 0),
    manifest_bytes = usage.manifest_bytes - iif(u.known = 0 AND u.live = 1, u.size, 0),
    stored_manifest_bytes = usage.stored_manifest_bytes + NEW.size - OLD.size
  FROM usage_manifests u
  WHERE usage.organization = substr(NEW.repository, 1, instr(NEW.repository, '/') - 1)
    AND u.organization = substr(NEW.repository, 1, instr(NEW.repository, '/') - 1) AND u.digest = NEW.digest;
  DELETE FROM usage_manifests
  WHERE organization = substr(NEW.repository, 1, instr(NEW.repository, '/') - 1) AND digest = NEW.digest AND live <= 1;
  UPDATE usage_manifests SET live = live - 1
  WHERE organization = substr(NEW.repository, 1, instr(NEW.repository, '/') - 1) AND digest = NEW.digest AND live > 1;
END;

CREATE TRIGGER count_of_gone_manifest AFTER DELETE ON manifests WHEN OLD.created_version > OLD.deleted_version BEGIN
  UPDATE usage SET manifests = usage.manifests - (u.known = 0),
    manifest_bytes = usage.manifest_bytes - iif(u.known = 0 AND u.live = 1, u.size, 0),
    stored_manifest_bytes = usage.stored_manifest_bytes - OLD.size
  FROM usage_manifests u
  WHERE usage.organization = substr(OLD.repository, 1, instr(OLD.repository, '/') - 1)
    AND u.organization = substr(OLD.repository, 1, instr(OLD.repository, '/') - 1) AND u.digest = OLD.digest;
  DELETE FROM usage_manifests
  WHERE organization = substr(OLD.repository, 1, instr(OLD.repository, '/') - 1) AND digest = OLD.digest AND live <= 1;
  UPDATE usage_manifests SET live = live - 1
  WHERE organization = substr(OLD.repository, 1, instr(OLD.repository, '/') - 1) AND digest = OLD.digest AND live > 1;
END;

-- Documents of dead manifests, which stay for the grace time.
CREATE TRIGGER document_of_new_dead_manifest AFTER INSERT ON manifests
WHEN NEW.created_version <= NEW.deleted_version AND NEW.size > 0 BEGIN
  INSERT INTO usage (organization, blobs, bytes, unreferenced, uploading, changed, stored_manifest_bytes)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), 0, 0, 0, 0, 0, NEW.size WHERE true
  ON CONFLICT (organization) DO UPDATE SET stored_manifest_bytes = stored_manifest_bytes + excluded.stored_manifest_bytes;
END;

CREATE TRIGGER document_of_manifest AFTER UPDATE OF size ON manifests
WHEN NEW.size <> OLD.size
  AND (NEW.created_version > NEW.deleted_version) = (OLD.created_version > OLD.deleted_version) BEGIN
  INSERT INTO usage (organization, blobs, bytes, unreferenced, uploading, changed, stored_manifest_bytes)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), 0, 0, 0, 0, 0, NEW.size - OLD.size WHERE true
  ON CONFLICT (organization) DO UPDATE SET stored_manifest_bytes = stored_manifest_bytes + excluded.stored_manifest_bytes;
END;

CREATE TRIGGER document_of_gone_dead_manifest AFTER DELETE ON manifests
WHEN OLD.created_version <= OLD.deleted_version AND OLD.size > 0 BEGIN
  UPDATE usage SET stored_manifest_bytes = stored_manifest_bytes - OLD.size
  WHERE organization = substr(OLD.repository, 1, instr(OLD.repository, '/') - 1);
END;

-- What central is known to count is left to it.
CREATE TRIGGER count_of_known_manifest AFTER UPDATE OF known ON usage_manifests WHEN NEW.known = 1 AND OLD.known = 0 BEGIN
  UPDATE usage SET manifests = manifests - NEW.live, manifest_bytes = manifest_bytes - NEW.size
  WHERE organization = NEW.organization;
END;

-- Tags that show. One that is hidden counts nowhere, and pushed again it is new here.
CREATE TRIGGER count_of_new_tag AFTER INSERT ON tags WHEN NEW.visible = 1 BEGIN
  INSERT INTO usage (organization, blobs, bytes, unreferenced, uploading, changed, tags)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), 0, 0, 0, 0, 0, 1 WHERE true
  ON CONFLICT (organization) DO UPDATE SET tags = tags + 1;
END;

CREATE TRIGGER count_of_shown_tag AFTER UPDATE OF visible ON tags WHEN NEW.visible = 1 AND OLD.visible = 0 BEGIN
  INSERT INTO usage (organization, blobs, bytes, unreferenced, uploading, changed, tags)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), 0, 0, 0, 0, 0, 1 WHERE true
  ON CONFLICT (organization) DO UPDATE SET tags = tags + 1;
END;

CREATE TRIGGER count_of_hidden_tag AFTER UPDATE OF visible ON tags WHEN NEW.visible = 0 AND OLD.visible = 1 BEGIN
  UPDATE usage SET tags = tags - 1 WHERE organization = substr(NEW.repository, 1, instr(NEW.repository, '/') - 1)
    AND NOT EXISTS (SELECT 1 FROM known_tags WHERE repository = NEW.repository AND name = NEW.name);
  DELETE FROM known_tags WHERE repository = NEW.repository AND name = NEW.name;
END;

CREATE TRIGGER count_of_gone_tag AFTER DELETE ON tags WHEN OLD.visible = 1 BEGIN
  UPDATE usage SET tags = tags - 1 WHERE organization = substr(OLD.repository, 1, instr(OLD.repository, '/') - 1)
    AND NOT EXISTS (SELECT 1 FROM known_tags WHERE repository = OLD.repository AND name = OLD.name);
  DELETE FROM known_tags WHERE repository = OLD.repository AND name = OLD.name;
END;

CREATE TRIGGER count_of_known_tag AFTER INSERT ON known_tags BEGIN
  UPDATE usage SET tags = tags - 1 WHERE organization = substr(NEW.repository, 1, instr(NEW.repository, '/') - 1);
END;

-- Sessions count with their bytes.
DROP TRIGGER usage_of_new_upload;
CREATE TRIGGER usage_of_new_upload AFTER INSERT ON uploads WHEN NEW.state = 'open' BEGIN
  INSERT INTO usage (organization, blobs, bytes, unreferenced, uploading, changed, open_uploads)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), 0, 0, 0, NEW.size, 0, 1 WHERE true
  ON CONFLICT (organization) DO UPDATE SET uploading = uploading + excluded.uploading, open_uploads = open_uploads + 1;
END;

DROP TRIGGER usage_of_upload;
CREATE TRIGGER usage_of_upload AFTER UPDATE OF state, size ON uploads
WHEN (NEW.state = 'open') <> (OLD.state = 'open') OR (NEW.state = 'open' AND NEW.size <> OLD.size) BEGIN
  UPDATE usage SET uploading = uploading + iif(NEW.state = 'open', NEW.size, 0) - iif(OLD.state = 'open', OLD.size, 0),
    open_uploads = open_uploads + (NEW.state = 'open') - (OLD.state = 'open')
  WHERE organization = substr(NEW.repository, 1, instr(NEW.repository, '/') - 1);
END;

DROP TRIGGER usage_of_gone_upload;
CREATE TRIGGER usage_of_gone_upload AFTER DELETE ON uploads WHEN OLD.state = 'open' BEGIN
  UPDATE usage SET uploading = uploading - OLD.size, open_uploads = open_uploads - 1
  WHERE organization = substr(OLD.repository, 1, instr(OLD.repository, '/') - 1);
END;

-- Nodes are told of organizations with a quota, and of those that were told of once since they came near a limit.
DROP TRIGGER usage_has_changed;
CREATE TRIGGER usage_has_changed AFTER UPDATE OF bytes, uploading, manifests, manifest_bytes, tags ON usage
WHEN (NEW.bytes + NEW.uploading + NEW.manifest_bytes <> OLD.bytes + OLD.uploading + OLD.manifest_bytes
    OR NEW.manifests <> OLD.manifests OR NEW.tags <> OLD.tags)
  AND (NEW.changed > 0 OR EXISTS (SELECT 1 FROM organizations WHERE name = NEW.organization AND quota_bytes IS NOT NULL)) BEGIN
  UPDATE usage SET changed = max(CAST(unixepoch('subsec') * 1000 AS INTEGER),
    1 + coalesce((SELECT max(changed) FROM usage WHERE changed > 0), 0)) WHERE organization = NEW.organization;
END;
