/** A registry that answers after a round trip, and sends blobs at a limited rate. */
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Content } from './content.ts';

export interface PacedUpstream {
  readonly port: number;
  /** The blob that it has. */
  content: Content;
  /** Returns the bytes of blobs that were sent. */
  readonly sent: () => number;
  readonly stop: () => Promise<void>;
}

/**
 * @param rate bytes a second
 * @param roundTrip milliseconds
 */
export async function startPacedUpstream(content: Content, rate: number, roundTrip: number): Promise<PacedUpstream> {
  let sent = 0;
  const server = createServer((request, response) => {
    const answer = async (): Promise<void> => {
      await sleep(roundTrip);
      const { content: blob } = upstream;
      if (request.url === '/v2/') return void response.end('{}');
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
      const [start, end] = [Number(from ?? 0), Math.min(Number(to ?? blob.byteLength - 1) + 1, blob.byteLength)];
      if (request.url?.endsWith(`/blobs/${blob.digest}`) !== true) return void response.writeHead(404).end();
      const range = from === undefined ? {} : { 'Content-Range': `bytes ${start}-${end - 1}/${blob.byteLength}` };
      response.writeHead(from === undefined ? 200 : 206, { 'Content-Length': end - start, ...range });
      if (request.method === 'HEAD') return void response.end();
      sent += await send(response, blob, start, end, rate);
    };
    answer().catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const upstream: PacedUpstream = {
    port: (server.address() as AddressInfo).port,
    content,
    sent: () => sent,
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return upstream;
}

/** Sends a part of a blob. @returns its bytes */
async function send(
  response: ServerResponse,
  blob: Content,
  start: number,
  end: number,
  rate: number,
): Promise<number> {
  const begun = performance.now();
  let [position, sent] = [0, 0];
  for (const piece of blob.pieces()) {
    const wanted = piece.subarray(Math.max(0, start - position), Math.max(0, end - position));
    position += piece.byteLength;
    if (wanted.byteLength === 0) continue;
    const early = begun + (sent / rate) * 1000 - performance.now();
    if (early > 0) await sleep(early);
    if (!response.write(wanted)) await once(response, 'drain');
    sent += wanted.byteLength;
  }
  response.end();
  return sent;
}
