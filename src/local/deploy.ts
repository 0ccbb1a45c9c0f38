/** `npm run deploy`: migrates every database, then deploys the code. Stops at the first failure. */
import { spawnSync } from 'node:child_process';
import { unstable_readConfig } from 'wrangler';
import { ENVIRONMENT, isUnset, WRANGLER_TOML } from './wrangler-toml.ts';

const config = unstable_readConfig({ config: WRANGLER_TOML, env: ENVIRONMENT });
const databases: readonly { binding: string; database_name?: string; database_id?: string }[] = config.d1_databases;

const unset = databases.filter(({ database_id: id }) => isUnset(id));
if (unset.length > 0) {
  const names = unset.map(({ binding, database_name: name }) => `${binding} (wrangler d1 create ${name})`).join(', ');
  console.error(
    `wrangler.toml: set database_id in [env.${ENVIRONMENT}] for ${names}. docs/deploying.md has the steps.`,
  );
  process.exit(1);
}

function wrangler(...args: string[]): void {
  const command = [...args, '--env', ENVIRONMENT];
  console.log(`\n> wrangler ${command.join(' ')}`);
  const { status } = spawnSync('wrangler', command, { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

// The schema goes first, because the old code works with the new schema.
for (const { binding } of databases) wrangler('d1', 'migrations', 'apply', binding, '--remote');
wrangler('deploy');
