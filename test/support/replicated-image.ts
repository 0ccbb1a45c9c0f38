/** The image `alice/app:latest` and its replication state, as the management API shows it at any host. */
import { call, HOST } from './client.ts';
import { putImage } from './content.ts';
import { bytesOf, type Image } from './fixture.ts';
import { api, type ApiAnswer, NODE1 } from './queues.ts';

export const IMAGES = 'organizations/alice/repositories/app/images';
export const LATEST = `${IMAGES}/latest`;
/** The blobs of the image that {@link pushTo} pushes with seed 1. */
export const CONFIG = bytesOf(1, 30);
export const LAYER = bytesOf(2, 70);

/** Returns the options of a request to a host as alice. */
export const at = (host: string) => ({ as: 'alice', host }) as const;

export function pushTo(host: string, seed: number): Promise<Image> {
  return putImage('alice/app', seed, ['latest'], at(host));
}

export function state(query = '', host = NODE1): Promise<ApiAnswer> {
  return api('GET', `${LATEST}${query}`, at(host));
}

/** Waits until the state is final. */
export function settled(host = NODE1): Promise<ApiAnswer> {
  return state('?wait=60', host);
}

export async function digestAt(host = HOST): Promise<string | null> {
  return (await call('HEAD', '/v2/alice/app/manifests/latest', at(host))).headers.get('Docker-Content-Digest');
}
