/** The memory of an isolate, read through workerd's inspector. */
import { call } from './http.ts';

export interface Inspector {
  /** Bytes of the heap, and of the buffers that hang on it, without what nothing refers to any more. */
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
  if (url === undefined) throw new Error(`no inspector of the Worker: ${JSON.stringify(targets)}`);
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
  /** An isolate that rests does not answer: requests keep it awake until it has. */
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
      // Sent together: what happens between the two would leave garbage that counts.
      // Twice: what weak references and finalizers have kept goes with the second.
      const collect = (): Promise<unknown> => ask('HeapProfiler.collectGarbage');
      const [, , usage] = await awake(Promise.all([collect(), collect(), ask('Runtime.getHeapUsage')]));
      const { usedSize, backingStorageSize = 0 } = usage as HeapUsage;
      return usedSize + backingStorageSize;
    },
    close: () => socket.close(),
  };
}
