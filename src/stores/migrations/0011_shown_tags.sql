-- The tags of a manifest that are shown lie together, so that lists of images read no others. docs/storage.md explains each
-- index.
DROP INDEX tags_by_digest;
CREATE INDEX tags_by_digest ON tags (repository, digest, visible, name);
