-- Whether a live manifest names a blob is asked of one row, however many manifests name it. docs/storage.md explains each
-- column, index and trigger.

-- 1 while the manifest that names is alive. Whatever writes references may leave it out: triggers keep it.
ALTER TABLE manifest_references ADD COLUMN live INTEGER NOT NULL DEFAULT 1;
DROP TRIGGER usage_of_new_reference;
DROP TRIGGER usage_of_gone_reference;
UPDATE manifest_references SET live = 0 WHERE NOT EXISTS (SELECT 1 FROM manifests m
  WHERE m.repository = manifest_references.repository AND m.digest = manifest_references.manifest
    AND m.created_version > m.deleted_version);
-- Subjects come last.
CREATE INDEX manifest_references_by_digest ON manifest_references (repository, digest, live, kind);

-- From here on usage_blobs.live counts repositories with a live manifest that names the blob, not those manifests.
UPDATE usage_blobs SET live = (SELECT count(*) FROM links k
  WHERE k.digest = usage_blobs.digest AND substr(k.repository, 1, instr(k.repository, '/') - 1) = usage_blobs.organization
    AND EXISTS (SELECT 1 FROM manifest_references r INDEXED BY manifest_references_by_digest
      WHERE r.repository = k.repository AND r.digest = k.digest AND r.live = 1 AND r.kind < 'subject'));

DROP TRIGGER usage_of_new_link;
CREATE TRIGGER usage_of_new_link AFTER INSERT ON links BEGIN
  INSERT INTO usage_blobs (organization, digest, size, live, fresh, known)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.digest,
    (SELECT l.size FROM locations l WHERE l.digest = NEW.digest LIMIT 1), use.live, use.fresh, NEW.usable_until IS NOT NULL
  FROM (SELECT
    EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.repository = NEW.repository AND r.digest = NEW.digest AND r.live = 1 AND r.kind < 'subject') AS live,
    NEW.released = 0 AND NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.repository = NEW.repository AND r.digest = NEW.digest AND r.live IN (0, 1) AND r.kind < 'subject') AS fresh) AS use
  WHERE use.live > 0 OR use.fresh > 0
  ON CONFLICT (organization, digest) DO UPDATE SET live = live + excluded.live, fresh = fresh + excluded.fresh;
  -- Only manifests name it that are dead.
  UPDATE links SET released = 2
  WHERE repository = NEW.repository AND digest = NEW.digest AND NOT EXISTS (SELECT 1 FROM usage_blobs u
    WHERE u.organization = substr(NEW.repository, 1, instr(NEW.repository, '/') - 1) AND u.digest = NEW.digest);
END;

DROP TRIGGER usage_of_gone_link;
CREATE TRIGGER usage_of_gone_link AFTER DELETE ON links BEGIN
  UPDATE usage_blobs SET live = usage_blobs.live - use.live, fresh = usage_blobs.fresh - use.fresh
  FROM (SELECT
    EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.repository = OLD.repository AND r.digest = OLD.digest AND r.live = 1 AND r.kind < 'subject') AS live,
    OLD.released = 2 OR (OLD.released = 0 AND NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.repository = OLD.repository AND r.digest = OLD.digest AND r.live IN (0, 1) AND r.kind < 'subject')) AS fresh) AS use
  WHERE organization = substr(OLD.repository, 1, instr(OLD.repository, '/') - 1) AND digest = OLD.digest
    AND (use.live > 0 OR use.fresh > 0);
END;

-- It counts as one of a live manifest first, and no more if the manifest is dead. Only a live one ends that a renewed blob is in flight.
CREATE TRIGGER usage_of_new_reference AFTER INSERT ON manifest_references BEGIN
  INSERT INTO usage_blobs (organization, digest, size, live, fresh, known)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.digest,
    (SELECT l.size FROM locations l WHERE l.digest = NEW.digest LIMIT 1), use.live, - (use.first OR use.renewed), 0
  FROM (SELECT
    NEW.live = 1 AND NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.repository = NEW.repository AND r.digest = NEW.digest AND r.live = 1 AND r.kind < 'subject'
        AND NOT (r.manifest = NEW.manifest AND r.kind = NEW.kind)) AS live,
    k.released = 0 AND NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.repository = NEW.repository AND r.digest = NEW.digest AND r.live IN (0, 1) AND r.kind < 'subject'
        AND NOT (r.manifest = NEW.manifest AND r.kind = NEW.kind)) AS first,
    k.released = 2 AND EXISTS (SELECT 1 FROM manifests m WHERE m.repository = NEW.repository AND m.digest = NEW.manifest
      AND m.created_version > m.deleted_version) AS renewed
    FROM links k WHERE k.repository = NEW.repository AND k.digest = NEW.digest AND NEW.kind < 'subject') AS use
  WHERE use.live > 0 OR use.first > 0 OR use.renewed > 0
  ON CONFLICT (organization, digest) DO UPDATE SET live = live + excluded.live, fresh = fresh + excluded.fresh;
  UPDATE links SET released = 1
  WHERE repository = NEW.repository AND digest = NEW.digest AND released = 2 AND NEW.kind < 'subject'
    AND EXISTS (SELECT 1 FROM manifests m WHERE m.repository = NEW.repository AND m.digest = NEW.manifest
      AND m.created_version > m.deleted_version);
  UPDATE manifest_references SET live = 0
  WHERE repository = NEW.repository AND digest = NEW.digest AND manifest = NEW.manifest AND kind = NEW.kind AND live = 1
    AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository = NEW.repository AND m.digest = NEW.manifest
      AND m.created_version > m.deleted_version);
END;

CREATE TRIGGER usage_of_live_reference AFTER UPDATE OF live ON manifest_references
WHEN NEW.live = 1 AND OLD.live = 0 AND NEW.kind < 'subject' BEGIN
  INSERT INTO usage_blobs (organization, digest, size, live, fresh, known)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.digest,
    (SELECT l.size FROM locations l WHERE l.digest = NEW.digest LIMIT 1), use.live, - use.renewed, 0
  FROM (SELECT
    NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.repository = NEW.repository AND r.digest = NEW.digest AND r.live = 1 AND r.kind < 'subject'
        AND NOT (r.manifest = NEW.manifest AND r.kind = NEW.kind)) AS live,
    k.released = 2 AS renewed
    FROM links k WHERE k.repository = NEW.repository AND k.digest = NEW.digest) AS use
  WHERE use.live > 0 OR use.renewed > 0
  ON CONFLICT (organization, digest) DO UPDATE SET live = live + excluded.live, fresh = fresh + excluded.fresh;
  UPDATE links SET released = 1 WHERE repository = NEW.repository AND digest = NEW.digest AND released = 2;
END;

CREATE TRIGGER usage_of_dead_reference AFTER UPDATE OF live ON manifest_references
WHEN NEW.live = 0 AND OLD.live = 1 AND NEW.kind < 'subject' BEGIN
  UPDATE usage_blobs SET live = live - 1
  WHERE organization = substr(NEW.repository, 1, instr(NEW.repository, '/') - 1) AND digest = NEW.digest
    AND EXISTS (SELECT 1 FROM links k WHERE k.repository = NEW.repository AND k.digest = NEW.digest)
    AND NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.repository = NEW.repository AND r.digest = NEW.digest AND r.live = 1 AND r.kind < 'subject');
END;

CREATE TRIGGER usage_of_gone_reference AFTER DELETE ON manifest_references WHEN OLD.kind < 'subject' BEGIN
  UPDATE usage_blobs SET live = live - 1
  WHERE OLD.live = 1 AND organization = substr(OLD.repository, 1, instr(OLD.repository, '/') - 1) AND digest = OLD.digest
    AND EXISTS (SELECT 1 FROM links k WHERE k.repository = OLD.repository AND k.digest = OLD.digest)
    AND NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.repository = OLD.repository AND r.digest = OLD.digest AND r.live = 1 AND r.kind < 'subject');
  UPDATE links SET released = 1
  WHERE repository = OLD.repository AND digest = OLD.digest AND released = 0
    AND NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.repository = OLD.repository AND r.digest = OLD.digest AND r.live IN (0, 1) AND r.kind < 'subject');
END;

-- Manifests that come to life, and that die. Their references are found by the index that is meant: an UPDATE of a trigger may not name one.
DROP TRIGGER usage_of_new_manifest;
CREATE TRIGGER usage_of_new_manifest AFTER INSERT ON manifests WHEN NEW.created_version > NEW.deleted_version BEGIN
  UPDATE manifest_references SET live = 1 WHERE live = 0 AND (repository, digest, manifest, kind) IN (
    SELECT r.repository, r.digest, r.manifest, r.kind FROM manifest_references r INDEXED BY manifest_references_by_manifest
    WHERE r.repository = NEW.repository AND r.manifest = NEW.digest);
END;

DROP TRIGGER usage_of_revived_manifest;
CREATE TRIGGER usage_of_revived_manifest AFTER UPDATE OF created_version, deleted_version ON manifests
WHEN NEW.created_version > NEW.deleted_version AND OLD.created_version <= OLD.deleted_version BEGIN
  UPDATE manifest_references SET live = 1 WHERE live = 0 AND (repository, digest, manifest, kind) IN (
    SELECT r.repository, r.digest, r.manifest, r.kind FROM manifest_references r INDEXED BY manifest_references_by_manifest
    WHERE r.repository = NEW.repository AND r.manifest = NEW.digest);
END;

DROP TRIGGER usage_of_dead_manifest;
CREATE TRIGGER usage_of_dead_manifest AFTER UPDATE OF created_version, deleted_version ON manifests
WHEN NEW.created_version <= NEW.deleted_version AND OLD.created_version > OLD.deleted_version BEGIN
  UPDATE manifest_references SET live = 0 WHERE live = 1 AND (repository, digest, manifest, kind) IN (
    SELECT r.repository, r.digest, r.manifest, r.kind FROM manifest_references r INDEXED BY manifest_references_by_manifest
    WHERE r.repository = NEW.repository AND r.manifest = NEW.digest);
END;

DROP TRIGGER usage_of_gone_manifest;
CREATE TRIGGER usage_of_gone_manifest AFTER DELETE ON manifests WHEN OLD.created_version > OLD.deleted_version BEGIN
  UPDATE manifest_references SET live = 0 WHERE live = 1 AND (repository, digest, manifest, kind) IN (
    SELECT r.repository, r.digest, r.manifest, r.kind FROM manifest_references r INDEXED BY manifest_references_by_manifest
    WHERE r.repository = OLD.repository AND r.manifest = OLD.digest);
END;

-- Pages of organizations, without those that were removed.
CREATE INDEX organizations_there ON organizations (name) WHERE removed_at IS NULL;

-- Pages of public repositories that the catalog shows, without the others.
ALTER TABLE public_repositories ADD COLUMN listed INTEGER NOT NULL DEFAULT 0;
UPDATE public_repositories SET listed = coalesce((SELECT r.listed FROM repositories r WHERE r.name = public_repositories.name), 0);
CREATE UNIQUE INDEX public_repositories_listed ON public_repositories (name) WHERE listed = 1;
CREATE TRIGGER public_repository_is_listed AFTER INSERT ON public_repositories BEGIN
  UPDATE public_repositories SET listed = 1
  WHERE name = NEW.name AND EXISTS (SELECT 1 FROM repositories r WHERE r.name = NEW.name AND r.listed = 1);
END;
CREATE TRIGGER new_repository_is_listed AFTER INSERT ON repositories WHEN NEW.listed = 1 BEGIN
  UPDATE public_repositories SET listed = 1 WHERE name = NEW.name;
END;
CREATE TRIGGER repository_is_listed AFTER UPDATE OF listed ON repositories WHEN NEW.listed <> OLD.listed BEGIN
  UPDATE public_repositories SET listed = NEW.listed WHERE name = NEW.name;
END;
CREATE TRIGGER gone_repository_is_not_listed AFTER DELETE ON repositories WHEN OLD.listed = 1 BEGIN
  UPDATE public_repositories SET listed = 0 WHERE name = OLD.name;
END;
