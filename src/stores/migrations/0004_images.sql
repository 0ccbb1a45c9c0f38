-- What lists of images say of a manifest, kept beside it. NULL until it is measured. docs/storage.md explains each column.
ALTER TABLE manifests ADD COLUMN image_size INTEGER;
ALTER TABLE manifests ADD COLUMN image_kind TEXT;
