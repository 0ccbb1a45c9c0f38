/** The doctor's options. Secrets come from the environment only, because other users can read arguments. */
import { parseArgs } from 'node:util';
import { isLoopback } from '../../config.ts';

export const USAGE = `npm run doctor -- <url> [--hosts <host>,…] [--large] [--wait <seconds>] [--json]

  <url>      a host of the deployment, such as https://index.example.com
  --hosts    more hosts to check; with an administrator's credential, the doctor finds all hosts itself
  --large    finds the largest request body that <url> accepts, by sending up to 512 MB
  --wait     longest wait until a push or a deletion is seen everywhere, in seconds; 90 by default
  --json     prints one JSON document at the end

Set these variables to the user names and secrets of two credentials. The checks that need a missing one are left out.

  BERTH_ORGANIZATION_USER, BERTH_ORGANIZATION_PASSWORD    an organization's, with the rights pull, push and delete
  BERTH_USER, BERTH_PASSWORD                              an administrator's

It exits with 0, with 1 if a check fails, and with 2 if it is used in a wrong way.`;

export interface Login {
  readonly user: string;
  readonly secret: string;
}

export interface Options {
  /** The origin of the host that was named. */
  readonly url: URL;
  /** Origins of more hosts. */
  readonly hosts: readonly URL[];
  readonly large: boolean;
  /** Milliseconds until a push or a deletion must be seen everywhere. */
  readonly wait: number;
  readonly json: boolean;
  readonly organization: Login | undefined;
  readonly administrator: Login | undefined;
}

/** The error for wrong use. The message says what was wrong, and what to do. */
export class WrongUse extends Error {
  override readonly name = 'WrongUse';
}

/** @throws WrongUse */
export function parseArguments(args: readonly string[], environment: NodeJS.ProcessEnv): Options {
  const { values, positionals } = parsed(args);
  const [address] = positionals;
  if (address === undefined || positionals.length > 1) throw new WrongUse(USAGE);
  const url = originOf(address, address);
  const hosts = values.hosts?.split(',').map((host) => host.trim()) ?? [];
  const wait = Number(values.wait);
  if (!(wait > 0)) throw new WrongUse(`--wait must be a number of seconds, not "${values.wait}".`);
  return {
    url,
    hosts: hosts.map((host) => originOf(`${url.protocol}//${host}`, host)),
    large: values.large,
    wait: wait * 1000,
    json: values.json,
    organization: loginIn(environment, 'BERTH_ORGANIZATION_USER', 'BERTH_ORGANIZATION_PASSWORD'),
    administrator: loginIn(environment, 'BERTH_USER', 'BERTH_PASSWORD'),
  };
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        hosts: { type: 'string' },
        large: { type: 'boolean', default: false },
        wait: { type: 'string', default: '90' },
        json: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new WrongUse(`${(error as Error).message}\n\n${USAGE}`);
  }
}

function originOf(text: string, shown: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.href !== `${url.origin}/`) {
    throw new WrongUse(`"${shown}" is not the address of a host: write it as https://index.example.com.`);
  }
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    throw new WrongUse(`"${shown}" must be https, because the doctor sends passwords there.`);
  }
  return url;
}

function loginIn(environment: NodeJS.ProcessEnv, name: string, password: string): Login | undefined {
  const { [name]: user = '', [password]: secret = '' } = environment;
  if (user === '' && secret === '') return undefined;
  if (user === '' || secret === '') throw new WrongUse(`Set both ${name} and ${password}, or neither.`);
  return { user, secret };
}
