-- So that no statement reads more than what it is asked about. docs/storage.md explains each index.

-- What a manifest lists, without its blobs.
DROP INDEX manifest_references_by_manifest;
CREATE INDEX manifest_references_by_manifest ON manifest_references (repository, manifest, kind);
