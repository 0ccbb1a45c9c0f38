-- A blob that had stopped counting, and is pushed, mounted or promised again, is in flight once more. docs/storage.md explains
-- `links.released`: 2 says so, until a live manifest names the blob.

-- Nothing counts those that code of after this schema may have written before it.
UPDATE links SET released = 1 WHERE released = 2;

DROP TRIGGER usage_of_new_link;
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
  -- Only manifests name it that are dead.
  UPDATE links SET released = 2
  WHERE repository = NEW.repository AND digest = NEW.digest AND NOT EXISTS (SELECT 1 FROM usage_blobs u
    WHERE u.organization = substr(NEW.repository, 1, instr(NEW.repository, '/') - 1) AND u.digest = NEW.digest);
END;

CREATE TRIGGER usage_of_renewed_link AFTER UPDATE OF released ON links WHEN NEW.released = 2 AND OLD.released <> 2 BEGIN
  INSERT INTO usage_blobs (organization, digest, size, live, fresh, known)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.digest,
    (SELECT l.size FROM locations l WHERE l.digest = NEW.digest LIMIT 1), 0, 1, 0 WHERE true
  ON CONFLICT (organization, digest) DO UPDATE SET fresh = fresh + 1;
END;

DROP TRIGGER usage_of_gone_link;
CREATE TRIGGER usage_of_gone_link AFTER DELETE ON links BEGIN
  UPDATE usage_blobs SET live = usage_blobs.live - use.live, fresh = usage_blobs.fresh - use.fresh
  FROM (SELECT
    (SELECT count(*) FROM manifest_references r CROSS JOIN manifests m ON m.repository = r.repository AND m.digest = r.manifest
      WHERE r.repository = OLD.repository AND r.digest = OLD.digest AND r.kind <> 'subject'
        AND m.created_version > m.deleted_version) AS live,
    OLD.released = 2 OR (OLD.released = 0 AND NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.repository = OLD.repository AND r.digest = OLD.digest AND r.kind <> 'subject')) AS fresh) AS use
  WHERE organization = substr(OLD.repository, 1, instr(OLD.repository, '/') - 1) AND digest = OLD.digest
    AND (use.live > 0 OR use.fresh > 0);
END;

-- Named by a live manifest, it is in flight no more. Both in one statement: in between, the row would count nothing, and go.
DROP TRIGGER usage_of_new_reference;
CREATE TRIGGER usage_of_new_reference AFTER INSERT ON manifest_references WHEN NEW.kind <> 'subject' BEGIN
  INSERT INTO usage_blobs (organization, digest, size, live, fresh, known)
  SELECT substr(NEW.repository, 1, instr(NEW.repository, '/') - 1), NEW.digest,
    (SELECT l.size FROM locations l WHERE l.digest = NEW.digest LIMIT 1), use.live,
    - (use.first OR iif(use.renewed, use.live, 0)), 0
  FROM (SELECT
    EXISTS (SELECT 1 FROM manifests m WHERE m.repository = NEW.repository AND m.digest = NEW.manifest
      AND m.created_version > m.deleted_version) AS live,
    k.released = 0 AND NOT EXISTS (SELECT 1 FROM manifest_references r
      WHERE r.repository = NEW.repository AND r.digest = NEW.digest AND r.kind <> 'subject'
        AND NOT (r.manifest = NEW.manifest AND r.kind = NEW.kind)) AS first,
    k.released = 2 AS renewed
    FROM links k WHERE k.repository = NEW.repository AND k.digest = NEW.digest) AS use
  WHERE use.live > 0 OR use.first > 0
  ON CONFLICT (organization, digest) DO UPDATE SET live = live + excluded.live, fresh = fresh + excluded.fresh;
  UPDATE links SET released = 1
  WHERE repository = NEW.repository AND digest = NEW.digest AND released = 2
    AND EXISTS (SELECT 1 FROM manifests m WHERE m.repository = links.repository AND m.digest = NEW.manifest
      AND m.created_version > m.deleted_version);
END;

-- A manifest can name a blob twice, as its config and as a layer: it leaves once.
DROP TRIGGER usage_of_new_manifest;
CREATE TRIGGER usage_of_new_manifest AFTER INSERT ON manifests WHEN NEW.created_version > NEW.deleted_version BEGIN
  INSERT INTO usage_blobs (organization, digest, size, live, fresh, known)
  SELECT substr(r.repository, 1, instr(r.repository, '/') - 1), r.digest,
    (SELECT l.size FROM locations l WHERE l.digest = r.digest LIMIT 1), 1,
    - (k.released = 2 AND NOT EXISTS (SELECT 1 FROM manifest_references o
      WHERE o.repository = r.repository AND o.digest = r.digest AND o.manifest = r.manifest AND o.kind < r.kind)), 0
  FROM manifest_references r CROSS JOIN links k ON k.repository = r.repository AND k.digest = r.digest
  WHERE r.repository = NEW.repository AND r.manifest = NEW.digest AND r.kind <> 'subject'
  ON CONFLICT (organization, digest) DO UPDATE SET live = live + 1, fresh = fresh + excluded.fresh;
  UPDATE links SET released = 1
  WHERE repository = NEW.repository AND released = 2 AND digest IN (
    SELECT r.digest FROM manifest_references r
    WHERE r.repository = NEW.repository AND r.manifest = NEW.digest AND r.kind <> 'subject');
END;

DROP TRIGGER usage_of_revived_manifest;
CREATE TRIGGER usage_of_revived_manifest AFTER UPDATE OF created_version, deleted_version ON manifests
WHEN NEW.created_version > NEW.deleted_version AND OLD.created_version <= OLD.deleted_version BEGIN
  INSERT INTO usage_blobs (organization, digest, size, live, fresh, known)
  SELECT substr(r.repository, 1, instr(r.repository, '/') - 1), r.digest,
    (SELECT l.size FROM locations l WHERE l.digest = r.digest LIMIT 1), 1,
    - (k.released = 2 AND NOT EXISTS (SELECT 1 FROM manifest_references o
      WHERE o.repository = r.repository AND o.digest = r.digest AND o.manifest = r.manifest AND o.kind < r.kind)), 0
  FROM manifest_references r CROSS JOIN links k ON k.repository = r.repository AND k.digest = r.digest
  WHERE r.repository = NEW.repository AND r.manifest = NEW.digest AND r.kind <> 'subject'
  ON CONFLICT (organization, digest) DO UPDATE SET live = live + 1, fresh = fresh + excluded.fresh;
  UPDATE links SET released = 1
  WHERE repository = NEW.repository AND released = 2 AND digest IN (
    SELECT r.digest FROM manifest_references r
    WHERE r.repository = NEW.repository AND r.manifest = NEW.digest AND r.kind <> 'subject');
END;
