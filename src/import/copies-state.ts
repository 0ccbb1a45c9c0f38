/** The content that imports have copied, and the image under way: a part of {@link ImportsState}. */
import type { Digest } from '../oci/digest.ts';
import type { RepositoryName } from '../oci/reference.ts';

/** The most bytes of a manifest that is kept while its image is imported. A row can hold 2 MB. */
const MAX_KEPT_BYTES = 1_000_000;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS blobs (
    import TEXT NOT NULL, digest TEXT NOT NULL, repository TEXT NOT NULL, PRIMARY KEY (import, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS uploads (
    import TEXT NOT NULL, repository TEXT NOT NULL, digest TEXT NOT NULL, reference TEXT NOT NULL,
    PRIMARY KEY (import, repository, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS manifests (
    import TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, bytes BLOB, is_written INTEGER NOT NULL,
    PRIMARY KEY (import, digest)
  ) STRICT, WITHOUT ROWID;`;

interface ManifestRow extends Record<string, SqlStorageValue> {
  readonly media_type: string;
  readonly bytes: ArrayBuffer | null;
}

export class CopiesState {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(SCHEMA);
  }

  forget(id: string): void {
    for (const table of ['blobs', 'uploads', 'manifests']) this.#sql.exec(`DELETE FROM ${table} WHERE import = ?`, id);
  }

  forgetManifests(id: string): void {
    this.#sql.exec('DELETE FROM manifests WHERE import = ?', id);
  }

  /** Takes note that an import has brought a blob to a repository, so that it can be mounted from there. */
  noteBlob(id: string, digest: Digest, repository: RepositoryName): void {
    this.#sql.exec('INSERT OR IGNORE INTO blobs VALUES (?, ?, ?)', id, digest, repository);
  }

  /** Returns where an import has brought a blob to; undefined if it has not. */
  repositoryWith(id: string, digest: Digest): RepositoryName | undefined {
    const [row] = this.#sql.exec('SELECT repository FROM blobs WHERE import = ? AND digest = ?', id, digest).toArray();
    return row?.['repository'] as RepositoryName | undefined;
  }

  upload(id: string, repository: RepositoryName, digest: Digest): string | undefined {
    const [row] = this.#sql
      .exec('SELECT reference FROM uploads WHERE import = ? AND repository = ? AND digest = ?', id, repository, digest)
      .toArray();
    return row?.['reference'] as string | undefined;
  }

  /** @param reference undefined once the upload has ended */
  setUpload(id: string, repository: RepositoryName, digest: Digest, reference: string | undefined): void {
    if (reference !== undefined)
      this.#sql.exec('INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?)', id, repository, digest, reference);
    else {
      this.#sql.exec('DELETE FROM uploads WHERE import = ? AND repository = ? AND digest = ?', id, repository, digest);
    }
  }

  manifest(id: string, digest: Digest): { readonly mediaType: string; readonly bytes: ArrayBuffer } | undefined {
    const [row] = this.#sql
      .exec<ManifestRow>('SELECT media_type, bytes FROM manifests WHERE import = ? AND digest = ?', id, digest)
      .toArray();
    return row === undefined || row.bytes === null ? undefined : { mediaType: row.media_type, bytes: row.bytes };
  }

  keepManifest(id: string, digest: Digest, mediaType: string, bytes: Uint8Array<ArrayBuffer>): void {
    this.#sql.exec(
      'INSERT OR IGNORE INTO manifests VALUES (?, ?, ?, ?, 0)',
      id,
      digest,
      mediaType,
      bytes.byteLength > MAX_KEPT_BYTES ? null : bytes.slice().buffer,
    );
  }

  noteManifestWritten(id: string, digest: Digest): void {
    this.#sql.exec('UPDATE manifests SET is_written = 1 WHERE import = ? AND digest = ?', id, digest);
  }

  /** Returns how many manifests of the image under way the import has not written. */
  manifestsPresent(id: string): number {
    const rows = this.#sql.exec('SELECT 1 FROM manifests WHERE import = ? AND is_written = 0', id);
    return rows.toArray().length;
  }
}
