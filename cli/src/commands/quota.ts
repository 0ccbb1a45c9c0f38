import { type Command, InvalidArgumentError } from 'commander';
import type { Organization, Usage } from '../answers.ts';
import { path } from '../api.ts';
import { connected, wantsJson, withExamples, withHost } from '../options.ts';
import { fields, print, printJson, size } from '../terminal.ts';

export function quota(berth: Command): void {
  const command = withHost(berth.command('quota'))
    .description("show or set an organization's quota")
    .argument('<organization>')
    .argument('[limit]', 'such as 10GB or 500MiB; none lifts the limit', bytes)
    .action(async (name: string, limit: number | null | undefined) => {
      const api = await connected(command);
      if (limit === undefined) {
        const usage = await api.call<Usage>('GET', path`/api/organizations/${name}/usage`);
        if (wantsJson(command)) return printJson(usage);
        return print(fields({ Quota: shown(usage.quota), Used: used(usage), 'In flight': size(usage.in_flight) }));
      }
      const to = path`/api/organizations/${name}/quota`;
      const changed = await api.call<Organization>('PUT', to, { body: { bytes: limit } });
      if (wantsJson(command)) return printJson(changed);
      print(`the quota of ${name} is ${shown(changed.quota)}\n`);
    });
  withExamples(
    command,
    ['berth quota acme --host index.example.com', 'the quota, and how much of it is used'],
    ['berth quota acme 10GB --host index.example.com'],
    ['berth quota acme none --host index.example.com'],
  );
}

function shown(limit: number | null): string {
  return limit === null ? 'none' : size(limit);
}

function used({ used: bytesUsed, quota: limit }: Usage): string {
  if (limit === null || limit === 0) return size(bytesUsed);
  return `${size(bytesUsed)} (${Math.round((100 * bytesUsed) / limit)} %)`;
}

const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** Parses a number of bytes with its unit; null for `none`. */
export function bytes(text: string): number | null {
  if (text === 'none') return null;
  const [, number, unit = 'b'] = /^(\d+(?:\.\d+)?) ?([kmgt]i?b|b)?$/i.exec(text) ?? [];
  const found = Math.round(Number(number) * (UNITS[unit.toLowerCase()] ?? Number.NaN));
  if (Number.isSafeInteger(found)) return found;
  throw new InvalidArgumentError('Write a size as 10GB or 500MiB, or none.');
}
