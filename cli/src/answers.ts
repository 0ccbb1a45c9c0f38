/** The types of the API's answers, inferred from its schemas. The schemas themselves stay out of the bundle. */
import type { z } from 'zod';
import type * as schemas from '../../src/http/api/schemas.ts';

export type Credential = z.infer<typeof schemas.credential>;
export type CreatedCredential = z.infer<typeof schemas.createdCredential>;
export type Deployment = z.infer<typeof schemas.deployment>;
export type HistoryEntry = z.infer<typeof schemas.historyEntry>;
export type Image = z.infer<typeof schemas.image>;
export type OnlyHere = z.infer<typeof schemas.onlyHere>;
export type Organization = z.infer<typeof schemas.organization>;
export type ParkedJob = z.infer<typeof schemas.parkedJob>;
export type Pin = z.infer<typeof schemas.pin>;
export type Prefetched = z.infer<typeof schemas.prefetched>;
export type Queue = z.infer<typeof schemas.queue>;
export type Repository = z.infer<typeof schemas.repository>;
export type Usage = z.infer<typeof schemas.usage>;
