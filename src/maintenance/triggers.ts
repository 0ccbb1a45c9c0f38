/** The cron triggers of maintenance. `wrangler.toml` names them, because Cloudflare starts them. */

/** Starts `maintain`. */
export const EACH_MINUTE = '* * * * *';
/** Starts `scrubStores`. */
export const EACH_HOUR = '23 * * * *';

/**
 * Returns whether a trigger starts the scrub: one that names minutes of the hour. A deployment with many stores may
 * have several.
 */
export function isHourly(cron: string): boolean {
  return /^\d+(,\d+)* /.test(cron);
}
