-- Repositories count for the organization: those that hold a live manifest, and all that have a row. docs/storage.md explains
-- each column.

ALTER TABLE usage ADD COLUMN repositories INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN repository_rows INTEGER NOT NULL DEFAULT 0;

INSERT INTO usage (organization, blobs, bytes, unreferenced, uploading, changed, repositories, repository_rows)
SELECT substr(name, 1, instr(name, '/') - 1), 0, 0, 0, 0, 0, sum(listed), count(*) FROM repositories WHERE true GROUP BY 1
ON CONFLICT (organization) DO UPDATE SET repositories = excluded.repositories, repository_rows = excluded.repository_rows;

CREATE TRIGGER count_of_new_repository AFTER INSERT ON repositories BEGIN
  INSERT INTO usage (organization, blobs, bytes, unreferenced, uploading, changed, repositories, repository_rows)
  SELECT substr(NEW.name, 1, instr(NEW.name, '/') - 1), 0, 0, 0, 0, 0, NEW.listed, 1 WHERE true
  ON CONFLICT (organization) DO UPDATE SET
    repositories = repositories + excluded.repositories, repository_rows = repository_rows + 1;
END;

CREATE TRIGGER count_of_listed_repository AFTER UPDATE OF listed ON repositories WHEN NEW.listed <> OLD.listed BEGIN
  UPDATE usage SET repositories = repositories + NEW.listed - OLD.listed
  WHERE organization = substr(NEW.name, 1, instr(NEW.name, '/') - 1);
END;

CREATE TRIGGER count_of_gone_repository AFTER DELETE ON repositories BEGIN
  UPDATE usage SET repositories = repositories - OLD.listed, repository_rows = repository_rows - 1
  WHERE organization = substr(OLD.name, 1, instr(OLD.name, '/') - 1);
END;
