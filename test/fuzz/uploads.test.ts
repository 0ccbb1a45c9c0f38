/**
 * Sequences of uploads: every answer matches the model, a refused request changes nothing, and acknowledged blobs can
 * be pulled.
 */
import { beforeEach, expect } from 'vitest';
import { steps } from './generate/uploads.ts';
import { UPLOAD_REGRESSIONS } from './regressions.ts';
import { property } from './support/property.ts';
import { clearContent } from './support/state.ts';
import { Uploading } from './support/uploading.ts';

beforeEach(clearContent);

property(
  'uploads follow the spec, in whatever order their requests come',
  steps,
  async (sequence) => {
    const uploading = await Uploading.begin();
    for (const step of sequence) await uploading.take(step);
    expect(await uploading.lost()).toEqual([]);
    await clearContent();
  },
  { regressions: UPLOAD_REGRESSIONS, restore: clearContent },
);
