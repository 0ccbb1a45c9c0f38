/**
 * Keeps a mirror's knowledge of its upstream in the SQLite storage of its Durable Object: tags, manifests that are not
 * stored yet, and images to store.
 *
 * Every table keeps its latest rows only. The mirror asks again for a tag that it has forgotten.
 */
import type { Digest } from '../oci/digest.ts';
import type { MediaType } from '../oci/media-type.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import type { ManifestDescriptor } from '../registry/registry.ts';

/** The most tags that a mirror remembers. */
const MAX_TAGS = 50_000;
/** The most bytes of the manifests that are not stored yet. */
const MAX_BYTES = 64 * 1024 ** 2;
/** The most images that wait to be stored. */
const MAX_DUE = 10_000;
/** A table is counted once in so many writes. If it has too many rows, as many are deleted. */
const WRITES_A_LOOK = 1000;
/** The bytes of a row's part of a manifest. A row can hold 2 MB. */
const PART_BYTES = 1_000_000;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS tags (
    repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT, media_type TEXT, size INTEGER,
    checked_at INTEGER NOT NULL, missing_until INTEGER NOT NULL DEFAULT 0, stored TEXT,
    PRIMARY KEY (repository, tag)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS tags_by_age ON tags (checked_at);
  CREATE INDEX IF NOT EXISTS tags_by_digest ON tags (repository, digest);
  CREATE TABLE IF NOT EXISTS manifests (
    repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
    taken_at INTEGER NOT NULL, PRIMARY KEY (repository, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS manifests_by_age ON manifests (taken_at);
  CREATE TABLE IF NOT EXISTS parts (
    repository TEXT NOT NULL, digest TEXT NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (repository, digest, part)
  ) STRICT;
  CREATE TABLE IF NOT EXISTS due (
    repository TEXT NOT NULL, digest TEXT NOT NULL, due_at INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    asked INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (repository, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS due_by_time ON due (due_at);
  CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;`;

export interface KnownTag {
  /** Undefined if the upstream has no such tag. */
  readonly descriptor: ManifestDescriptor | undefined;
  /** When the upstream last answered, in milliseconds since the epoch. */
  readonly checkedAt: number;
  /** Until when the tag counts as missing; 0 if it does not. */
  readonly missingUntil: number;
  /** The digest that the tag was last stored with; undefined if this mirror has not stored it. */
  readonly stored: Digest | undefined;
}

export interface KeptManifest extends ManifestDescriptor {
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface DueImage {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  readonly attempts: number;
  /** How often clients have asked for it. */
  readonly asked: number;
}

type Row = Record<string, SqlStorageValue>;

export class MirrorState {
  readonly #sql: SqlStorage;
  /** By table. At the first write of an instance, it looks. */
  readonly #writes = { tags: 0, due: 0 };

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(SCHEMA);
  }

  /** Forgets everything, because the mirror has another upstream now. */
  clear(): void {
    for (const table of ['tags', 'manifests', 'parts', 'due', 'counts']) this.#sql.exec(`DELETE FROM ${table}`);
  }

  tag(repository: RepositoryName, tag: Tag): KnownTag | undefined {
    const row = this.#first('SELECT * FROM tags WHERE repository = ? AND tag = ?', repository, tag);
    if (row === undefined) return undefined;
    return {
      descriptor: row['digest'] === null ? undefined : descriptorIn(row),
      checkedAt: Number(row['checked_at']),
      missingUntil: Number(row['missing_until']),
      stored: (row['stored'] ?? undefined) as Digest | undefined,
    };
  }

  /** Notes the manifest that a tag has at the upstream. */
  noteTag(repository: RepositoryName, tag: Tag, { digest, mediaType, size }: ManifestDescriptor, now: number): void {
    this.#sql.exec(
      `INSERT INTO tags VALUES (?, ?, ?, ?, ?, ?, 0, NULL) ON CONFLICT DO UPDATE SET digest = excluded.digest,
        media_type = excluded.media_type, size = excluded.size, checked_at = excluded.checked_at, missing_until = 0`,
      repository,
      tag,
      digest,
      mediaType,
      size,
      now,
    );
    this.#limit('tags', 'checked_at', MAX_TAGS);
  }

  /** Notes that the upstream has no such tag. The descriptor stays until {@link forgetDescriptor}. */
  noteMissing(repository: RepositoryName, tag: Tag, now: number, until: number): void {
    this.#sql.exec(
      `INSERT INTO tags VALUES (?, ?, NULL, NULL, NULL, ?, ?, NULL)
        ON CONFLICT DO UPDATE SET checked_at = excluded.checked_at, missing_until = excluded.missing_until`,
      repository,
      tag,
      now,
      until,
    );
    this.#limit('tags', 'checked_at', MAX_TAGS);
  }

  /** Notes the manifest that tags were stored with. */
  noteStored(repository: RepositoryName, tags: readonly Tag[], digest: Digest): void {
    for (const tag of tags)
      this.#sql.exec('UPDATE tags SET stored = ? WHERE repository = ? AND tag = ?', digest, repository, tag);
  }

  /** Forgets the manifest of a missing tag. */
  forgetDescriptor(repository: RepositoryName, tag: Tag): void {
    this.#sql.exec(
      'UPDATE tags SET digest = NULL, stored = NULL WHERE repository = ? AND tag = ? AND missing_until > 0',
      repository,
      tag,
    );
  }

  /** Forgets a tag, or a digest with all its tags, so that the mirror asks the upstream again. */
  forgetReference(repository: RepositoryName, reference: string): void {
    const column = reference.includes(':') ? 'digest' : 'tag';
    this.#sql.exec(`DELETE FROM tags WHERE repository = ? AND ${column} = ?`, repository, reference);
    if (column === 'digest') this.forgetManifest(repository, reference as Digest);
  }

  /** Returns up to `limit` tags of a manifest. */
  tagsOf(repository: RepositoryName, digest: Digest, limit: number): readonly Tag[] {
    return this.#rows(
      'SELECT tag FROM tags WHERE repository = ? AND digest = ? AND missing_until = 0 LIMIT ?',
      repository,
      digest,
      limit,
    ).map((row) => row['tag'] as Tag);
  }

  manifest(repository: RepositoryName, digest: Digest): KeptManifest | undefined {
    const row = this.#first('SELECT * FROM manifests WHERE repository = ? AND digest = ?', repository, digest);
    if (row === undefined) return undefined;
    const parts = this.#rows(
      'SELECT bytes FROM parts WHERE repository = ? AND digest = ? ORDER BY part',
      repository,
      digest,
    );
    const bytes = new Uint8Array(Number(row['size']));
    let at = 0;
    for (const part of parts) {
      bytes.set(new Uint8Array(part['bytes'] as ArrayBuffer), at);
      at += (part['bytes'] as ArrayBuffer).byteLength;
    }
    return { ...descriptorIn(row), bytes };
  }

  /** Describes a manifest without reading its document. */
  descriptor(repository: RepositoryName, digest: Digest): ManifestDescriptor | undefined {
    const row = this.#first('SELECT * FROM manifests WHERE repository = ? AND digest = ?', repository, digest);
    return row && descriptorIn(row);
  }

  keepManifest(repository: RepositoryName, { digest, mediaType, size, bytes }: KeptManifest, now: number): void {
    this.forgetManifest(repository, digest);
    for (let room = MAX_BYTES - size; this.#bytesKept() > room;) {
      const oldest = this.#first('SELECT repository, digest FROM manifests ORDER BY taken_at LIMIT 1');
      if (oldest === undefined) break;
      this.forgetManifest(oldest['repository'] as RepositoryName, oldest['digest'] as Digest);
    }
    this.#sql.exec('INSERT INTO manifests VALUES (?, ?, ?, ?, ?)', repository, digest, mediaType, size, now);
    for (let part = 0; part * PART_BYTES < size; part += 1) {
      const content = bytes.slice(part * PART_BYTES, (part + 1) * PART_BYTES).buffer;
      this.#sql.exec('INSERT INTO parts VALUES (?, ?, ?, ?)', repository, digest, part, content);
    }
    this.#count('bytes', size);
  }

  forgetManifest(repository: RepositoryName, digest: Digest): void {
    const known = this.descriptor(repository, digest);
    if (known === undefined) return;
    for (const table of ['manifests', 'parts'])
      this.#sql.exec(`DELETE FROM ${table} WHERE repository = ? AND digest = ?`, repository, digest);
    this.#count('bytes', -known.size);
  }

  /** Makes an image due to be stored. */
  addDue(repository: RepositoryName, digest: Digest, now: number): void {
    this.#sql.exec(
      `INSERT INTO due (repository, digest, due_at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET asked = asked + 1`,
      repository,
      digest,
      now,
    );
    this.#limit('due', 'due_at', MAX_DUE);
  }

  /** Returns the image that is due first; undefined if none is due by now. */
  nextDue(now: number): DueImage | undefined {
    const row = this.#first('SELECT * FROM due WHERE due_at <= ? ORDER BY due_at LIMIT 1', now);
    return (
      row && {
        repository: row['repository'] as RepositoryName,
        digest: row['digest'] as Digest,
        attempts: Number(row['attempts']),
        asked: Number(row['asked']),
      }
    );
  }

  /** Returns when the next image is due; undefined if none is. */
  nextDueAt(): number | undefined {
    const row = this.#first('SELECT due_at FROM due ORDER BY due_at LIMIT 1');
    return row && Number(row['due_at']);
  }

  putOff({ repository, digest }: DueImage, dueAt: number, attempts: number): void {
    this.#sql.exec(
      'UPDATE due SET due_at = ?, attempts = ? WHERE repository = ? AND digest = ?',
      dueAt,
      attempts,
      repository,
      digest,
    );
  }

  /** Ends the work on an image. The image stays due if a client has asked for it again meanwhile. */
  endDue({ repository, digest, asked }: DueImage): void {
    this.#sql.exec('DELETE FROM due WHERE repository = ? AND digest = ? AND asked = ?', repository, digest, asked);
  }

  counts(): { readonly tags: number; readonly waiting: number } {
    const count = (table: 'tags' | 'due'): number =>
      Number(this.#first(`SELECT count(*) AS count FROM ${table}`)?.['count']);
    return { tags: count('tags'), waiting: count('due') };
  }

  /** Deletes the oldest rows of a table that has grown too large. Looking scans it, so few writes look. */
  #limit(table: 'tags' | 'due', age: string, most: number): void {
    const writes = this.#writes[table];
    this.#writes[table] += 1;
    if (writes % WRITES_A_LOOK !== 0) return;
    const rows = this.#rows(`SELECT 1 FROM ${table} ORDER BY ${age} LIMIT 1 OFFSET ?`, most);
    if (rows.length === 0) return;
    this.#sql.exec(
      `DELETE FROM ${table} WHERE ${age} <= (SELECT ${age} FROM ${table} ORDER BY ${age} LIMIT 1 OFFSET ?)`,
      WRITES_A_LOOK,
    );
  }

  #bytesKept(): number {
    return Number(this.#first("SELECT count FROM counts WHERE name = 'bytes'")?.['count'] ?? 0);
  }

  #count(name: string, count: number): void {
    this.#sql.exec(
      'INSERT INTO counts VALUES (?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count',
      name,
      count,
    );
  }

  #first(query: string, ...values: SqlStorageValue[]): Row | undefined {
    return this.#rows(query, ...values)[0];
  }

  #rows(query: string, ...values: SqlStorageValue[]): Row[] {
    return this.#sql.exec<Row>(query, ...values).toArray();
  }
}

function descriptorIn(row: Row): ManifestDescriptor {
  return {
    digest: row['digest'] as Digest,
    mediaType: row['media_type'] as MediaType,
    size: Number(row['size']),
  };
}

/** Returns only the descriptor of a manifest. */
export function descriptorOf({ digest, mediaType, size }: ManifestDescriptor): ManifestDescriptor {
  return { digest, mediaType, size };
}
