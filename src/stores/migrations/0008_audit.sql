-- The audit log: who deleted what, when, through which host. docs/storage.md explains each column and index.
CREATE TABLE audit (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  action TEXT NOT NULL,
  organization TEXT NOT NULL,
  repository TEXT NOT NULL,
  key TEXT NOT NULL,
  subject TEXT NOT NULL,
  name TEXT NOT NULL,
  host TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_time ON audit (at, id);
CREATE INDEX audit_by_organization ON audit (organization, at, id);
