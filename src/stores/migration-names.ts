/** The files of `migrations/`, in order. A Worker cannot list a folder; a test compares this list with it. */
export const MIGRATIONS: readonly string[] = ['0001_berth.sql'];
