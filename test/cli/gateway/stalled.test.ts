/** Clients that stop sending, or send too slowly, lose their room to others, and learn why. */
import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { CHUNK, type Started, startGateway } from './started.ts';

const NEVER = 1_000_000;
/** Uploads that fill the gateway's room twice. */
const MANY = Array.from({ length: 12 }, (_, i) => i);
const MANIFEST = '/v2/acme/app/manifests/v1';
const [withLength, withoutLength] = [{ 'content-length': CHUNK }, { 'transfer-encoding': 'chunked' }];

/** Begins a request whose body never ends. */
function begin({ port }: Started, method: string, path: string, headers: object): ClientRequest {
  const begun = request({ host: '127.0.0.1', port, agent: false, method, path, headers: { ...headers } });
  begun.on('error', () => undefined);
  onTestFinished(() => void begun.destroy());
  return begun;
}

async function answerTo(begun: ClientRequest): Promise<[status: number | undefined, body: string]> {
  const [answer] = (await once(begun, 'response')) as [IncomingMessage];
  return [answer.statusCode, (await buffer(answer)).toString()];
}

async function pushes(gateway: Started): Promise<boolean> {
  const { status } = await gateway.ask({ method: 'PATCH', path: await gateway.open() }, Buffer.alloc(2 * CHUNK));
  return status === 202;
}

test.each([
  ['a PATCH', 'PATCH', withLength],
  ['a PATCH without a length', 'PATCH', withoutLength],
  ['a manifest', 'PUT', withLength],
  ['a manifest without a length', 'PUT', withoutLength],
])('%s that stalls is answered with 408, which says why', async (_name, method, headers) => {
  const gateway = await startGateway(CHUNK, { idleMs: 300, awaitedMs: NEVER });
  const begun = begin(gateway, method, method === 'PUT' ? MANIFEST : await gateway.open(), headers);
  begun.write('a');
  const [status, body] = await answerTo(begun);
  expect(status).toBe(408);
  expect(body).toContain('the client sent nothing for 0.3 seconds: push again');
});

test.each([
  ['with a length', withLength],
  ['without a length', withoutLength],
])('uploads %s that stall give their room up once others wait', async (_name, headers) => {
  const gateway = await startGateway(CHUNK, { idleMs: NEVER, awaitedMs: 300 });
  const stalled = await Promise.all(MANY.map(async () => begin(gateway, 'PATCH', await gateway.open(), headers)));
  const answers = stalled.map(answerTo);
  for (const each of stalled) each.write('a');
  expect(await pushes(gateway)).toBe(true);
  const [status, body] = await Promise.race(answers);
  expect(status).toBe(408);
  expect(body).toContain('the client sent too slowly while others waited for its room: push again');
});

test('uploads that send a byte now and then do not keep their room', async () => {
  const gateway = await startGateway(CHUNK, { idleMs: NEVER, awaitedMs: 300 });
  const slow = await Promise.all(MANY.map(async () => begin(gateway, 'PATCH', await gateway.open(), withLength)));
  const sendByte = (): void => {
    for (const each of slow) each.write('a');
  };
  sendByte();
  const trickle = setInterval(sendByte, 20);
  onTestFinished(() => clearInterval(trickle));
  expect(await pushes(gateway)).toBe(true);
});

test('manifests that stall keep no room from others', async () => {
  const gateway = await startGateway(CHUNK, { idleMs: NEVER, awaitedMs: 300 });
  gateway.host.first = ({ url = '' }, outgoing) => {
    if (!url.includes('/manifests/')) return false;
    outgoing.writeHead(201).end();
    return true;
  };
  for (const each of MANY) begin(gateway, 'PUT', `${MANIFEST}${each}`, withoutLength).write('a');
  const { status } = await gateway.ask({ method: 'PUT', path: MANIFEST }, Buffer.from('{}'));
  expect(status).toBe(201);
});

test('uploads that send nothing take no room', async () => {
  const gateway = await startGateway(CHUNK, { idleMs: NEVER, awaitedMs: NEVER });
  for (const _ of MANY) begin(gateway, 'PATCH', await gateway.open(), withLength).flushHeaders();
  expect(await pushes(gateway)).toBe(true);
});

test('a client is not blamed for a host that is slow', async () => {
  const gateway = await startGateway(CHUNK, { idleMs: 300, awaitedMs: 300 });
  const paths = await Promise.all(MANY.map(() => gateway.open()));
  gateway.host.first = async () => {
    await new Promise((done) => setTimeout(done, 600));
    return false;
  };
  const answers = await Promise.all(
    paths.map((path) => gateway.ask({ method: 'PATCH', path }, Buffer.alloc(2 * CHUNK))),
  );
  expect(answers.map(({ status }) => status)).toEqual(MANY.map(() => 202));
});
