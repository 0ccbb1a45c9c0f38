-- Refused logins are entries of the audit log as well: one for each hour, user and address, with how many there were.
ALTER TABLE audit ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
CREATE UNIQUE INDEX audit_refused ON audit (at, organization, key, subject) WHERE action = 'refuse login';
CREATE INDEX credentials_named ON credentials (name);
