/** The answers of the management API, as its schemas describe them. */
import type { z } from '@hono/zod-openapi';
import type { auditEntry } from '../http/api/audit.ts';
import type { tagAtStores } from '../http/api/tags.ts';
import type * as images from '../http/api/image-schemas.ts';
import type * as queues from '../http/api/queue-schemas.ts';
import type * as schemas from '../http/api/schemas.ts';
import type * as series from '../http/api/series-schemas.ts';

export type Caller = z.infer<typeof schemas.caller>;
export type Organization = z.infer<typeof schemas.organization>;
export type Usage = z.infer<typeof schemas.usage>;
export type Credential = z.infer<typeof schemas.credential>;
export type CreatedCredential = z.infer<typeof schemas.createdCredential>;
export type Repository = z.infer<typeof schemas.repository>;
export type Queue = z.infer<typeof queues.queue>;
export type ParkedJob = z.infer<typeof queues.parkedJob>;
export type ImageState = z.infer<typeof images.image>;
export type HistoryEntry = z.infer<typeof images.historyEntry>;
export type Pin = z.infer<typeof images.pin>;
export type StoreMaintenance = z.infer<typeof schemas.storeMaintenance>;
export type AuditEntry = z.infer<typeof auditEntry>;
export type LatestPush = z.infer<typeof images.latestPush>;
export type ListedImage = z.infer<typeof images.listedImage>;
export type TagAtStores = z.infer<typeof tagAtStores>;
export type QueueSeries = z.infer<typeof series.queueSeries>;
export type HourOfQueue = z.infer<typeof series.hourOfQueue>;
export type RepositoriesUsage = z.infer<typeof series.repositoriesUsage>;
export type UsageDays = z.infer<typeof series.usageDays>;
