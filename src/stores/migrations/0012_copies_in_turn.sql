-- A node's copies by organization, the smallest first. docs/storage.md explains it.
CREATE INDEX copies_in_turn ON copies (store, organization, size);
DROP INDEX copies_smallest;
