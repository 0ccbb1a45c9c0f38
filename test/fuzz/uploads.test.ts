/**
 * Sequences of uploads: every answer is the model's, what is refused changes nothing, and what was acknowledged can be
 * pulled.
 */
import { beforeEach, expect } from 'vitest';
import { steps } from './generate/uploads.ts';
import { UPLOAD_REGRESSIONS } from './regressions.ts';
import { property } from './support/property.ts';
import { clearContent } from './support/state.ts';
import { Uploading } from './support/uploading.ts';

beforeEach(clearContent);

property(
  'uploads are what the spec says, in whatever order they come',
  steps,
  async (sequence) => {
    const uploading = await Uploading.begin();
    for (const step of sequence) await uploading.take(step);
    expect(await uploading.lost()).toEqual([]);
    await clearContent();
  },
  { regressions: UPLOAD_REGRESSIONS, restore: clearContent },
);
