/** What a store lets an organization have, whether or not it has a quota. */
export interface StoreLimits {
  /** Manifests that live in its repositories: one in two repositories counts twice. */
  readonly manifests: number;
  /** Tags that show. */
  readonly tags: number;
  /** Bytes of manifests in the store's database, those of deleted ones included until they are collected. */
  readonly manifestBytes: number;
  /** Writes of one tag that its history keeps. */
  readonly historyEntries: number;
}

/** What `REGISTRY` need not say. */
export const DEFAULT_LIMITS: StoreLimits = {
  manifests: 1_000_000,
  tags: 1_000_000,
  manifestBytes: 2_000_000_000,
  historyEntries: 100,
};

/** Repositories of an organization in one store: each is a row that stays at central until somebody removes it. */
export const MAX_REPOSITORIES = 100_000;

/** Upload sessions of an organization that one store holds open: each is a row for a day, however few its bytes. */
export const MAX_OPEN_UPLOADS = 10_000;
