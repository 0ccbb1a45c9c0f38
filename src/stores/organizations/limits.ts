/** The limits of an organization in a store, whether or not it has a quota. */
export interface StoreLimits {
  /** Live manifests in its repositories. A manifest in two repositories counts twice. */
  readonly manifests: number;
  /** Visible tags. */
  readonly tags: number;
  /** Distinct blobs that count, and open uploads, each of which may become one. */
  readonly blobs: number;
  /** Bytes of manifests in the store's database, including deleted ones until they are collected. */
  readonly manifestBytes: number;
  /** Past writes that the history of one tag keeps. */
  readonly historyEntries: number;
}

/** The limits that apply unless `REGISTRY` sets others. */
export const DEFAULT_LIMITS: StoreLimits = {
  manifests: 1_000_000,
  tags: 1_000_000,
  blobs: 3_000_000,
  manifestBytes: 2_000_000_000,
  historyEntries: 100,
};

/**
 * The most repositories of an organization in one store. Each is a row that stays at central until somebody removes it.
 */
export const MAX_REPOSITORIES = 100_000;

/**
 * The most tags on one manifest of a repository in one store, hidden ones included. A deletion of the manifest hides
 * them all in one statement, which others wait for.
 */
export const MAX_TAGS_ON_MANIFEST = 1000;

/**
 * The most credentials of an organization, expired ones included until somebody removes them. Lists filter them, and
 * removing the organization deletes all of them in one statement, at central and at each node.
 */
export const MAX_CREDENTIALS = 1000;

/**
 * The most past writes that the histories of an organization's tags keep in one store. If `historyEntries` of every tag
 * would exceed this, each tag keeps an equal share, but at least one. Deleted and hidden tags have a share too.
 */
export const MAX_HISTORY = 2_000_000;

/** The most open upload sessions of an organization in one store. Even one without bytes keeps its row for a day. */
export const MAX_OPEN_UPLOADS = 10_000;

/**
 * The most rows that the upload sessions of an organization and their chunks have in one store. An ended session counts
 * until two or three hours after it began.
 */
export const MAX_UPLOAD_ROWS = 200_000;

/** The most mirrors of a deployment. An isolate keeps all of them in memory. */
export const MAX_MIRRORS = 100;
