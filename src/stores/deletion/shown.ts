/**
 * Makes a write depend on what a store shows under a reference. The caller reads it and decides; the transaction that
 * writes goes through only if the store still shows the same. That makes the decision part of the transaction.
 */
import type { Digest } from '../../oci/digest.ts';
import type { Reference, RepositoryName } from '../../oci/reference.ts';
import { type Database, sql } from '../database.ts';
import { isAliveManifest, removedVersion } from './removals.ts';

export interface Shown {
  readonly reference: Reference;
  /** The version of the tag, or of the manifest's last push; null if the reference does not resolve in this store. */
  readonly version: number | null;
}

/** Another write came in between, so the caller has to decide again. */
export class ShownChanged extends Error {
  override readonly name = 'ShownChanged';
}

// A tag has no colon; a digest has one. So at most one of the two selects matches.
const SHOWN = (repository: string, reference: string): string => `
  SELECT t.digest, t.version FROM tags t WHERE t.repository = ${repository} AND t.name = ${reference} AND t.visible = 1
    AND t.version > ${removedVersion(repository)}
  UNION ALL
  SELECT m.digest, m.created_version FROM manifests m
  WHERE m.repository = ${repository} AND m.digest = ${reference} AND ${isAliveManifest('m')}`;

const SELECT_SHOWN = sql`${SHOWN('?1', '?2')}`;

/** Returns what the store shows under a reference, with the manifest's digest. */
export async function findShown(
  database: Database,
  repository: RepositoryName,
  reference: Reference,
): Promise<Shown & { readonly digest: Digest | undefined }> {
  const row = await database.first<{ digest: Digest; version: number }>(SELECT_SHOWN, repository, textOf(reference));
  return { reference, digest: row?.digest, version: row?.version ?? null };
}

/**
 * SQL that holds if the store still shows what the parameter `shown` says (see {@link shownParameter}). It always holds
 * for NULL.
 */
export const STILL_SHOWN = (shown: string, repository: string): string => `
  (${shown} IS NULL OR (
    SELECT version FROM (${SHOWN(repository, `${shown} ->> 'reference'`)})) IS ${shown} ->> 'version')`;

/** Returns 0 or 1; for a transaction that did not write. ?1 {@link shownParameter}, ?2 repository. */
export const SELECT_STILL_SHOWN = sql<{ still: number }>`SELECT ${STILL_SHOWN('?1', '?2')} AS still`;

/** Returns the parameter of {@link STILL_SHOWN}: JSON, or NULL for no condition. */
export function shownParameter(shown: Shown | undefined): string | null {
  return shown === undefined ? null : JSON.stringify({ reference: textOf(shown.reference), version: shown.version });
}

function textOf(reference: Reference): string {
  return reference.kind === 'tag' ? reference.tag : reference.digest;
}
