/** Reads the memory of an isolate through workerd's inspector. */
import { call } from './http.ts';

export interface Inspector {
  /** Returns the bytes of the heap and its buffers, after garbage collection. */
  memory(): Promise<number>;
  close(): void;
}

interface HeapUsage {
  readonly usedSize: number;
  readonly backingStorageSize?: number;
}

export async function connectInspector(port: number, workerPort: number): Promise<Inspector> {
  const targets = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as {
    readonly webSocketDebuggerUrl: string;
  }[];
  const url = targets
    .map(({ webSocketDebuggerUrl }) => webSocketDebuggerUrl)
    .find((each) => each.endsWith('/core:user:berth'));
  if (url === undefined) throw new Error(`the Worker has no inspector: ${JSON.stringify(targets)}`);
  const socket = new WebSocket(url);
  await new Promise((done, fail) => {
    socket.addEventListener('open', done);
    socket.addEventListener('error', () => fail(new Error('the inspector does not answer')));
  });
  const waiting = new Map<
    number,
    { readonly done: (result: unknown) => void; readonly fail: (error: Error) => void }
  >();
  const closed = (): void => {
    for (const { fail } of waiting.values()) fail(new Error('the inspector has closed the connection'));
  };
  socket.addEventListener('close', closed);
  socket.addEventListener('message', ({ data }) => {
    const { id, result } = JSON.parse(String(data)) as { id?: number; result?: unknown };
    if (id === undefined) return;
    waiting.get(id)?.done(result);
    waiting.delete(id);
  });
  let last = 0;
  const ask = (method: string): Promise<unknown> =>
    new Promise((done, fail) => {
      last++;
      waiting.set(last, { done, fail });
      socket.send(JSON.stringify({ id: last, method }));
    });
  /** Sends requests until the inspector has answered, because an idle isolate does not answer. */
  const awake = async <Answer>(answer: Promise<Answer>): Promise<Answer> => {
    const progress = { isDone: false };
    const watched = answer.finally(() => (progress.isDone = true));
    while (!progress.isDone) await Promise.race([watched, call(200, { port: workerPort, method: 'GET', path: '/' })]);
    return watched;
  };
  await ask('Runtime.enable');
  await ask('HeapProfiler.enable');
  return {
    memory: async () => {
      // Sent together, because anything between them would leave garbage that counts. Sent twice, because the second
      // collection frees what weak references and finalizers kept.
      const collect = (): Promise<unknown> => ask('HeapProfiler.collectGarbage');
      const [, , usage] = await awake(Promise.all([collect(), collect(), ask('Runtime.getHeapUsage')]));
      const { usedSize, backingStorageSize = 0 } = usage as HeapUsage;
      return usedSize + backingStorageSize;
    },
    close: () => socket.close(),
  };
}
