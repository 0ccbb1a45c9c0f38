import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
import { eraseCredential, storeCredential } from '../docker-config.ts';
import { WrongUse } from '../errors.ts';
import { withExamples } from '../options.ts';
import { connectTo, explained } from '../registry.ts';
import type { TransportOptions } from '../transport.ts';

interface Options extends TransportOptions {
  readonly username?: string;
  readonly passwordStdin?: true;
}

/** `berth login HOST` */
export function login(berth: Command): void {
  const command = berth
    .command('login')
    .description('log in to a registry, for docker, skopeo and crane too')
    .argument('<host>', 'the registry, as host[:port]')
    .option('-u, --username <name>', 'the user')
    .option('--password-stdin', 'read the password from standard input')
    .action(async (host: string) => run(host, command.optsWithGlobals<Options>()));
  withExamples(
    command,
    ['berth login -u ci registry.example', 'asks for the password'],
    ['berth login -u ci --password-stdin registry.example <password.txt'],
  );
}

/** `berth logout HOST` */
export function logout(berth: Command): void {
  const command = berth
    .command('logout')
    .description('forget the login to a registry')
    .argument('<host>', 'the registry, as host[:port]')
    .action(async (host: string) => {
      const had = await eraseCredential(host);
      console.log(had ? `logged out of ${host}` : `there was no login to ${host}`);
    });
  withExamples(command, ['berth logout registry.example']);
}

async function run(host: string, options: Options): Promise<void> {
  const username = options.username ?? (await ask('Username: ', 'give it with --username', false));
  const password =
    options.passwordStdin === true
      ? (await text(process.stdin)).replace(/\r?\n$/, '')
      : await ask('Password: ', 'give it with --password-stdin', true);
  if (username === '' || password === '') throw new WrongUse('a login needs a user name and a password');
  const credential = { username, password };
  try {
    await connectTo(host, options, async () => credential).check();
  } catch (error) {
    throw explained(error);
  }
  console.log(`logged in to ${host}: kept in ${await storeCredential(host, credential)}`);
}

/** Asks on the terminal. @param otherwise what to do where there is none */
async function ask(question: string, otherwise: string, isSecret: boolean): Promise<string> {
  if (!process.stdin.isTTY) throw new WrongUse(`there is no terminal to ask for "${question.trim()}": ${otherwise}`);
  process.stderr.write(question);
  // The terminal shows only what the prompt writes to this output.
  const output = isSecret ? new Writable({ write: (_chunk, _encoding, done) => done() }) : process.stderr;
  const prompt = createInterface({ input: process.stdin, output, terminal: true });
  try {
    return await prompt.question('');
  } finally {
    prompt.close();
    if (isSecret) process.stderr.write('\n');
  }
}
