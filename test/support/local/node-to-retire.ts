/** A node to retire, and a central that knows one administrator, whom it gives the answers that a test sets. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { addNodeCommand } from '../../../src/local/add-node.ts';
import { retireNodeCommand } from '../../../src/local/retire-node.ts';
import { type RecordedOperator, recordedOperator, type TomlFile, wranglerTomlForEachTest } from './operator.ts';

const ID = '6f3a2f4e-0d3c-4f5e-9a51-1c2d3e4f5a6b';
export const ENVIRONMENT = { BERTH_USER: 'operator', BERTH_PASSWORD: 'secret' };
export const DIGEST = `sha256:${'a'.repeat(64)}`;
/** The path at which central says how far the queue of the node is. */
export const QUEUE = '/api/replication/queues/fra';

interface NodeToRetire {
  readonly central: {
    readonly url: string;
    /** The method, unless it is GET, and the path of each request. */
    readonly asked: readonly string[];
    /** By path. Central answers 404 to all else. */
    readonly answers: Record<string, { status?: number; body: unknown }>;
  };
  /** wrangler.toml, with the node. */
  readonly toml: TomlFile;
  /** Its text without the node, and with it. */
  readonly text: { readonly before: string; readonly withNode: string };
  readonly retire: (
    args: string,
    environment?: NodeJS.ProcessEnv,
    answers?: Parameters<typeof recordedOperator>[0],
  ) => Promise<RecordedOperator & { readonly refused: string | undefined }>;
  /** Lets central describe the node's queue: nothing is left in it, except for the changes. */
  readonly stateOf: (changes?: object) => void;
}

/** Adds the node `fra` for each test of a file. */
export function nodeToRetire(): NodeToRetire {
  const toml = wranglerTomlForEachTest();
  const text = { before: '', withNode: '' };
  const central = {
    server: undefined as Server | undefined,
    url: '',
    asked: [] as string[],
    answers: {} as Record<string, { status?: number; body: unknown }>,
  };

  beforeAll(async () => {
    const login = `Basic ${Buffer.from('operator:secret').toString('base64')}`;
    central.server = createServer((request, response) => {
      central.asked.push(`${request.method === 'GET' ? '' : `${request.method} `}${request.url}`);
      const known = request.headers.authorization === login;
      const { status = 200, body } = known
        ? (central.answers[request.url ?? ''] ?? { status: 404, body: {} })
        : { status: 401, body: {} };
      response
        .writeHead(status, { 'Content-Type': 'application/json' })
        .end(typeof body === 'string' ? body : JSON.stringify(body));
    });
    await new Promise<void>((done) => central.server?.listen(0, '127.0.0.1', done));
    central.url = `http://127.0.0.1:${(central.server.address() as AddressInfo).port}`;
  });

  afterAll(async () => {
    central.server?.closeAllConnections();
    await new Promise((done) => central.server?.close(done));
  });

  // The first one loads wrangler, which takes long on a busy machine.
  beforeEach(async () => {
    central.asked = [];
    central.answers = {};
    text.before = await toml.read();
    const answers = { 'wrangler d1 create': { stdout: `database_id = "${ID}"` } };
    await addNodeCommand(
      ['fra', '--region', 'weur', '--apply', '--config', toml.path],
      recordedOperator(answers),
      'ab12',
    );
    text.withNode = await toml.read();
  }, 60_000);

  const retire: NodeToRetire['retire'] = async (args, environment = ENVIRONMENT, answers = {}) => {
    const operator = recordedOperator(answers);
    const all = [...args.split(' '), '--url', central.url, '--config', toml.path];
    const refused = await retireNodeCommand(all, operator, environment).then(
      () => undefined,
      (error: unknown) => (error as Error).message,
    );
    return { ...operator, refused };
  };

  const stateOf = (changes: object = {}): void => {
    const state = {
      store: 'fra',
      answers: true,
      depth: 0,
      oldest_outbox_entry_seconds: null,
      in_flight: 0,
      parked: 0,
      paused: false,
      change_log: [{ store: 'fra', position: 7 }],
      copies_up: { blobs: 0, bytes: 0 },
    };
    central.answers[QUEUE] = { body: { ...state, ...changes } };
  };

  return { central, toml, text, retire, stateOf };
}
