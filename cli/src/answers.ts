/** The types of the API's answers, inferred from its schemas. The schemas themselves stay out of the bundle. */
import type { z } from 'zod';
import type * as images from '../../src/http/api/image-schemas.ts';
import type * as imports from '../../src/http/api/import-schemas.ts';
import type * as mirrors from '../../src/http/api/mirror-schemas.ts';
import type * as queues from '../../src/http/api/queue-schemas.ts';
import type * as schemas from '../../src/http/api/schemas.ts';

export type Credential = z.infer<typeof schemas.credential>;
export type CreatedCredential = z.infer<typeof schemas.createdCredential>;
export type Deployment = z.infer<typeof schemas.deployment>;
export type HistoryEntry = z.infer<typeof images.historyEntry>;
export type Image = z.infer<typeof images.image>;
export type Import = z.infer<typeof imports.importReport>;
export type ImportSummary = z.infer<typeof imports.importSummary>;
export type Mirror = z.infer<typeof mirrors.mirror>;
export type MirrorStatus = z.infer<typeof mirrors.mirrorStatus>;
export type OnlyHere = z.infer<typeof queues.onlyHere>;
export type Organization = z.infer<typeof schemas.organization>;
export type ParkedJob = z.infer<typeof queues.parkedJob>;
export type Pin = z.infer<typeof images.pin>;
export type Prefetched = z.infer<typeof images.prefetched>;
export type Queue = z.infer<typeof queues.queue>;
export type Repository = z.infer<typeof schemas.repository>;
export type Usage = z.infer<typeof schemas.usage>;
