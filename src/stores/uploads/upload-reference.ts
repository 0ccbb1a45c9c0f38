/**
 * The reference of an upload session: one path segment that names the upload and says how many bytes it has. It is
 * signed together with the store, repository and subject that it was issued to. Nothing is stored until the first chunk
 * arrives: POST writes nothing.
 *
 * The reference contains the offset, so that a chunk can be written without a read first, and so that a stale reference
 * can be recognized. From the first chunk on, the session's row decides.
 */
import { DAY, HOUR } from '../../durations.ts';
import type { Algorithm } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { RepositoryName } from '../../oci/reference.ts';

/** The lifetime of a session from its POST, in milliseconds. */
export const SESSION_MILLISECONDS = DAY;

/** The longest that a session may wait for its first chunk, in milliseconds. */
export const START_MILLISECONDS = 2 * HOUR;

/** Signs for the registry of one store. The caller provides the keys. */
export interface Signer {
  sign(text: string): Promise<string>;
  verify(text: string, signature: string): Promise<boolean>;
}

/** The owner of an upload session. If anyone else presents its reference, the upload is unknown. */
export interface SessionOwner {
  readonly store: string;
  readonly repository: RepositoryName;
  /** The id of the credential. */
  readonly subject: string;
}

export interface UploadReference {
  readonly id: string;
  /** Bytes received so far. */
  readonly offset: number;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
  /** The algorithm that hashes the bytes while they arrive. */
  readonly algorithm: Algorithm;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const NUMBER = /^(?:0|[1-9]\d{0,15})$/;

/** Signs a reference and returns it as a path segment. */
export async function formatUploadReference(
  signer: Signer,
  owner: SessionOwner,
  reference: UploadReference,
): Promise<string> {
  const fields = [reference.id, reference.offset, reference.expiresAt, reference.algorithm].join('.');
  return `${fields}.${await signer.sign(signedText(owner, fields))}`;
}

/**
 * Parses a path segment and checks its signature.
 * @throws OciError UPLOAD_UNKNOWN if it is forged, expired, or belongs to another owner
 */
export async function parseUploadReference(
  signer: Signer,
  owner: SessionOwner,
  segment: string,
  now: number,
): Promise<UploadReference> {
  const end = segment.lastIndexOf('.');
  const fields = segment.slice(0, Math.max(0, end));
  const [id = '', offset = '', expiresAt = '', algorithm = '', ...rest] = fields.split('.');
  const wellFormed =
    UUID.test(id) &&
    NUMBER.test(offset) &&
    NUMBER.test(expiresAt) &&
    (algorithm === 'sha256' || algorithm === 'sha512') &&
    rest.length === 0;
  if (
    !wellFormed ||
    !(await signer.verify(signedText(owner, fields), segment.slice(end + 1))) ||
    Number(expiresAt) <= now
  ) {
    throw new OciError('UPLOAD_UNKNOWN');
  }
  return { id, offset: Number(offset), expiresAt: Number(expiresAt), algorithm };
}

function signedText(owner: SessionOwner, fields: string): string {
  return ['upload', owner.store, owner.repository, owner.subject, fields].join('\n');
}
