/**
 * The content that imports have copied, and the images that they have begun: a part of {@link ImportsState}. Each thing
 * that is noted here for the first time is progress.
 */
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
  CREATE TABLE IF NOT EXISTS present (
    import TEXT NOT NULL, image TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (import, image, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS manifests (
    import TEXT NOT NULL, image TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, bytes BLOB,
    is_written INTEGER NOT NULL, PRIMARY KEY (import, image, digest)
  ) STRICT, WITHOUT ROWID;`;

interface ManifestRow extends Record<string, SqlStorageValue> {
  readonly media_type: string;
  readonly bytes: ArrayBuffer | null;
}

export class CopiesState {
  readonly #sql: SqlStorage;
  readonly #noteProgress: (id: string) => void;

  constructor(sql: SqlStorage, noteProgress: (id: string) => void) {
    this.#sql = sql;
    this.#noteProgress = noteProgress;
    sql.exec(SCHEMA);
  }

  forget(id: string): void {
    for (const table of ['blobs', 'uploads', 'present', 'manifests'])
      this.#sql.exec(`DELETE FROM ${table} WHERE import = ?`, id);
  }

  forgetImage(id: string, image: string): void {
    for (const table of ['present', 'manifests'])
      this.#sql.exec(`DELETE FROM ${table} WHERE import = ? AND image = ?`, id, image);
  }

  /** Forgets the bytes of an image's manifests, which would take much room while the image waits. */
  forgetDocuments(id: string, image: string): void {
    this.#sql.exec('UPDATE manifests SET bytes = NULL WHERE import = ? AND image = ?', id, image);
  }

  /** Forgets which blobs repositories have, because one of them has gone. */
  forgetBlobs(id: string): void {
    for (const table of ['blobs', 'present']) this.#sql.exec(`DELETE FROM ${table} WHERE import = ?`, id);
  }

  /** Notes that the repository of an image had one of its blobs already. */
  notePresent(id: string, image: string, digest: Digest): void {
    this.#advance(id, this.#sql.exec('INSERT OR IGNORE INTO present VALUES (?, ?, ?)', id, image, digest));
  }

  /** Returns whether {@link notePresent} noted a blob. */
  isPresent(id: string, image: string, digest: Digest): boolean {
    return (
      this.#sql.exec('SELECT 1 FROM present WHERE import = ? AND image = ? AND digest = ?', id, image, digest).toArray()
        .length > 0
    );
  }

  /** Notes that an import has brought a blob to a repository, so that it can be mounted from there. */
  noteBlob(id: string, digest: Digest, repository: RepositoryName): void {
    this.#advance(id, this.#sql.exec('INSERT OR IGNORE INTO blobs VALUES (?, ?, ?)', id, digest, repository));
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
    if (reference !== undefined) {
      this.#sql.exec('INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?)', id, repository, digest, reference);
      this.#noteProgress(id);
    } else {
      this.#sql.exec('DELETE FROM uploads WHERE import = ? AND repository = ? AND digest = ?', id, repository, digest);
    }
  }

  manifest(
    id: string,
    image: string,
    digest: Digest,
  ): { readonly mediaType: string; readonly bytes: ArrayBuffer } | undefined {
    const [row] = this.#sql
      .exec<ManifestRow>(
        'SELECT media_type, bytes FROM manifests WHERE import = ? AND image = ? AND digest = ?',
        id,
        image,
        digest,
      )
      .toArray();
    return row === undefined || row.bytes === null ? undefined : { mediaType: row.media_type, bytes: row.bytes };
  }

  /** Keeps a manifest of an image that is begun; only its digest, if it is large. */
  keepManifest(id: string, image: string, digest: Digest, mediaType: string, bytes: Uint8Array<ArrayBuffer>): void {
    const kept = bytes.byteLength > MAX_KEPT_BYTES ? null : bytes.slice().buffer;
    const put = this.#sql.exec(
      `INSERT INTO manifests VALUES (?, ?, ?, ?, ?, 0)
       ON CONFLICT DO UPDATE SET bytes = excluded.bytes WHERE bytes IS NULL AND excluded.bytes IS NOT NULL`,
      id,
      image,
      digest,
      mediaType,
      kept,
    );
    if (kept !== null) this.#advance(id, put);
  }

  noteManifestWritten(id: string, image: string, digest: Digest): void {
    const written = this.#sql.exec(
      'UPDATE manifests SET is_written = 1 WHERE import = ? AND image = ? AND digest = ?',
      id,
      image,
      digest,
    );
    this.#advance(id, written);
  }

  /** Returns how many manifests of an image the import has not written. */
  manifestsPresent(id: string, image: string): number {
    const rows = this.#sql.exec('SELECT 1 FROM manifests WHERE import = ? AND image = ? AND is_written = 0', id, image);
    return rows.toArray().length;
  }

  #advance(id: string, { rowsWritten }: { readonly rowsWritten: number }): void {
    if (rowsWritten > 0) this.#noteProgress(id);
  }
}
