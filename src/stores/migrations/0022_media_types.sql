-- Under which media types a manifest was pushed, and when. docs/storage.md explains each column.
ALTER TABLE manifests ADD COLUMN typed TEXT NOT NULL DEFAULT '';
ALTER TABLE manifests ADD COLUMN typed_otherwise TEXT NOT NULL DEFAULT '';

UPDATE manifests SET typed = printf('%016d', created_version) || ' ' || media_type || ' ' || artifact_type
WHERE lower(media_type) IN ('application/vnd.oci.image.manifest.v1+json', 'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json', 'application/vnd.docker.distribution.manifest.list.v2+json');
UPDATE manifests SET typed_otherwise = printf('%016d', created_version) || ' ' || media_type || ' ' || artifact_type
WHERE media_type <> '' AND typed = '';
