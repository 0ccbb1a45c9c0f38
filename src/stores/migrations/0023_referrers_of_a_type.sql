-- Artifact types are media types: they are compared, and paged, without regard to case.
DROP INDEX manifests_referrers;
CREATE INDEX manifests_referrers ON manifests (repository, subject, artifact_type COLLATE NOCASE, digest)
  WHERE subject IS NOT NULL AND created_version > deleted_version;
