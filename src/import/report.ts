/** An import as its callers see it. It never has the credential of the upstream. */
import type { Import, ImportsState } from './import-state.ts';
import type { Importer, ImportRequest } from './request.ts';
import type { Count, Skipped } from './run-state.ts';
import type { InFlight } from './work.ts';

export interface Amount {
  readonly done: number;
  /** As far as it is known: it grows while lists are read. */
  readonly total: number;
}

export interface Copied {
  readonly copied: number;
  /** Already there. */
  readonly present: number;
}

export interface ImportSummary {
  readonly id: string;
  readonly state: Import['state'];
  readonly error: string | undefined;
  /** Milliseconds since the epoch. */
  readonly madeAt: number;
  readonly endedAt: number | undefined;
  /** When it goes on, if it waits for the upstream. */
  readonly waitsUntil: number | undefined;
  /** When the last run of an import in step ended, and when the next is due. */
  readonly lastRunAt: number | undefined;
  readonly nextRunAt: number | undefined;
  readonly importer: Importer;
  readonly request: ImportRequest;
  readonly repositories: Amount;
  readonly tags: Amount;
  /** The number of tags that were removed. */
  readonly removed: number;
  readonly manifests: Copied;
  readonly blobs: Copied;
  readonly bytes: Amount;
  readonly skipped: number;
}

export interface ImportReport extends ImportSummary {
  /** The first repositories and images that were skipped. */
  readonly report: readonly Skipped[];
}

export function summaryOf(
  { id, state, error, madeAt, endedAt, dueAt, lastRunAt, importer, request }: Import,
  imports: ImportsState,
  { copied, total }: InFlight,
): ImportSummary {
  const counts = imports.run.counts(id);
  const count = (name: Count): number => counts.get(name) ?? 0;
  const bytes = count('bytes copied');
  return {
    id,
    state,
    error,
    madeAt,
    endedAt,
    waitsUntil: state === 'running' && dueAt > Date.now() ? dueAt : undefined,
    lastRunAt,
    nextRunAt: state === 'waiting' ? dueAt : undefined,
    importer,
    request,
    repositories: { done: count('repositories done'), total: count('repositories') },
    tags: { done: count('tags done'), total: count('tags') },
    removed: count('tags removed'),
    manifests: { copied: count('manifests copied'), present: count('manifests present') },
    blobs: { copied: count('blobs copied'), present: count('blobs present') },
    bytes: { done: bytes + copied, total: bytes + total },
    skipped: count('skipped'),
  };
}
