/**
 * Sequences of uploads: every answer matches the model, a refused request changes nothing, and acknowledged blobs can
 * be pulled.
 */
import { beforeEach, expect } from 'vitest';
import { type Step, steps, stepsOfParts } from './generate/uploads.ts';
import { PART_REGRESSIONS, UPLOAD_REGRESSIONS } from './regressions.ts';
import { property } from './support/property.ts';
import { clearContent } from './support/state.ts';
import { Uploading } from './support/uploading.ts';

beforeEach(clearContent);

async function uploadsFollow(sequence: readonly Step[]): Promise<void> {
  const uploading = await Uploading.begin();
  for (const step of sequence) await uploading.take(step);
  expect(await uploading.lost()).toEqual([]);
  await clearContent();
}

property('uploads follow the spec, in whatever order their requests come', steps, uploadsFollow, {
  regressions: UPLOAD_REGRESSIONS,
  restore: clearContent,
});

property('uploads whose chunks are parts of one object follow it too', stepsOfParts, uploadsFollow, {
  regressions: PART_REGRESSIONS,
  restore: clearContent,
  share: 1 / 40,
});
