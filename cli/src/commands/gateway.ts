import { once } from 'node:events';
import { type Command, InvalidArgumentError } from 'commander';
import { BodyLimit } from '../../../src/oci-client/body-limit.ts';
import { Gateway } from '../gateway/gateway.ts';
import { type Listening, listenOnLoopback } from '../gateway/listen.ts';
import { withExamples } from '../options.ts';
import { parseChunk } from '../registry.ts';
import { baseUrl, createTransport, type TransportOptions } from '../transport.ts';

interface Options extends TransportOptions {
  readonly port?: number;
  readonly chunk?: number;
  readonly quiet?: true;
}

/** `berth gateway HOST`: serves another registry at a port of this machine, for layers of any size. */
export function gateway(berth: Command): void {
  const command = berth
    .command('gateway')
    .description('bring layers of any size to a registry, from any client')
    .argument('<host>', 'the registry, as host[:port]')
    .option('--port <number>', 'listen on this port of localhost (default: a free one)', parsePort)
    .option(
      '--chunk <mebibytes>',
      'send at most this many MiB at once (default: the limit of the registry, up to 64)',
      parseChunk,
    )
    .option('--quiet', 'do not report chunks that are sent again')
    .action(async (host: string) => run(host, command.optsWithGlobals<Options>()));
  withExamples(
    command,
    ['berth gateway index.example.com', 'then push to the address that it prints'],
    ['berth gateway index.example.com --port 5000'],
  );
}

async function run(host: string, options: Options): Promise<void> {
  const url = baseUrl(host, options);
  const limit = new BodyLimit(options.chunk);
  const transport = createTransport(options);
  const served = new Gateway({
    host: url,
    limit,
    transport,
    ...(options.quiet === true ? {} : { tell: console.error }),
  });
  const listening = await listenOnLoopback((incoming, outgoing) => {
    void served.handle(incoming, outgoing);
  }, options.port);
  console.log(welcome(url.host, listening.port));
  await untilStopped(listening);
}

function welcome(host: string, port: number): string {
  return [
    `localhost:${port} is now ${host}, for layers of any size. Ctrl-C stops it.`,
    '',
    `  docker login localhost:${port}`,
    `  docker tag app localhost:${port}/acme/app`,
    `  docker push localhost:${port}/acme/app`,
    '',
  ].join('\n');
}

/** Waits for Ctrl-C, and then for the requests that run. Another Ctrl-C ends those too. */
async function untilStopped({ close, abort }: Listening): Promise<void> {
  await aSignal();
  const closed = close();
  void aSignal().then(abort);
  if (await isPending(closed)) console.error('Requests are being finished. Ctrl-C again ends them.');
  await closed;
}

function aSignal(): Promise<unknown> {
  return Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
}

async function isPending(promise: Promise<void>): Promise<boolean> {
  return Promise.race([promise.then(() => false), new Promise<true>((resolve) => setTimeout(resolve, 100, true))]);
}

function parsePort(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1 && number <= 65_535) return number;
  throw new InvalidArgumentError('A port is a number from 1 to 65535.');
}
