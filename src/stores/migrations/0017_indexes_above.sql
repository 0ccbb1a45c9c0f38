-- The indexes that list a manifest, whatever else names its digest. docs/storage.md explains it.
CREATE INDEX manifest_references_children ON manifest_references (repository, digest, manifest) WHERE kind = 'child';
