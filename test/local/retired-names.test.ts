/** Names that Berth dropped when it adopted the field's words. CHANGELOG.md says what each became. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from '../support/local/operator.ts';

const RETIRED = {
  tables: ['markers', 'feed', 'followers', 'departed'],
  columns: ['stamp', 'followed_at', 'leaving'],
  metrics: [
    'berth_queue_oldest_marker_seconds',
    'berth_queue_fetches',
    'berth_feed_lag_entries',
    'berth_feed_age_seconds',
    'berth_followed_total',
    'berth_copies_blobs',
    'berth_copies_bytes',
    'berth_copied_bytes_total',
    'berth_fetched_bytes_total',
  ],
  'fields of the API and the log': ['oldest_marker_seconds', 'feedEntries', 'mended', 'unmended'],
  routes: ['mark-all'],
  identifiers: [
    'Marker',
    'markersAfter',
    'FeedEntry',
    'readFeed',
    'applyFeed',
    'followedAt',
    'stampOf',
    'takeStamp',
    'nextStamp',
    'STAMPS_PER_MILLISECOND',
    'consent',
    'consents',
    'letGo',
    'markLeaving',
    'HeardNodes',
    'ManifestLife',
    'mergeLives',
    'Hopeless',
    'mend',
    'mendLocation',
    'BLOB_IS_UNUSED',
    'StoreUpkeep',
    'upkeep',
    'GcContext',
    'copyJob',
    'fetchJob',
    'fetchBlob',
  ],
  files: [
    'src/gc',
    'marker-rows',
    'feed-rows',
    'followed.ts',
    'consent-rows',
    'departed-rows',
    'heard-nodes',
    'let-go',
    'collect-central',
    'collect-node',
    'federated-blobs',
    'image-list.ts',
    'stored-images',
    'maintenance-rows',
  ],
} as const;

const SHOWN = ['src', 'docs', 'deploy', 'README.md', 'CONTRIBUTING.md', 'wrangler.toml'];

test.each(Object.entries(RETIRED).flatMap(([kind, names]) => names.map((name) => [name, kind] as const)))(
  'nothing is called %s (%s)',
  (name) => {
    const found = grep(name);
    expect(found).toEqual([]);
  },
);

/** Lines of sources and documents that have a name as a whole word. */
function grep(name: string): string[] {
  try {
    return execFileSync('git', ['grep', '-nwF', '-e', name, '--', ...SHOWN], { cwd: ROOT, encoding: 'utf8' })
      .split('\n')
      .slice(0, -1);
  } catch (error) {
    if ((error as { status?: number }).status === 1) return [];
    throw error;
  }
}

/** The formatter breaks no literal and no title of a test. */
const COMMENT = /^\s*(?:\*|\/[*/])/;
const UNBREAKABLE = /^\s*(?:test|describe)(?:\.\w+)*\(|['"`].{60,}['"`]|['"`][^'"`]{70,}/;

test('no line of code is longer than 120 characters', () => {
  const files = execFileSync('git', ['ls-files', '*.ts', '*.tsx', '*.js'], { cwd: ROOT, encoding: 'utf8' })
    .split('\n')
    .slice(0, -1);
  const long = files
    .filter((file) => !file.endsWith('.d.ts'))
    .flatMap((file) =>
      readFileSync(join(ROOT, file), 'utf8')
        .split('\n')
        .flatMap((line, i) =>
          line.length > 120 && (COMMENT.test(line) || !UNBREAKABLE.test(line)) ? [`${file}:${i + 1}: ${line}`] : [],
        ),
    );
  expect(long).toEqual([]);
});
