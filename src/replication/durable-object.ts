import { DurableObject } from 'cloudflare:workers';

export class ReplicationQueue extends DurableObject<Env> {
  async wake(): Promise<void> {}
}
