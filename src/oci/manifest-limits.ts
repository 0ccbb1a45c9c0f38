/** The limits of a manifest (docs/limits.md). Clients import them from here, without the parser, which is large. */

/** The largest manifest accepted, in bytes. The spec asks for at least 4 MB ("Pushing Manifests"). */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
/** The most descriptors in one manifest. */
export const MAX_REFERENCES = 4096;
/** The deepest nesting of a manifest's JSON. Real manifests stay below 10. */
export const MAX_DEPTH = 64;
/** The most JSON values, of all kinds, in one manifest. 4,096 descriptors with annotations stay far below this. */
export const MAX_VALUES = 200_000;
