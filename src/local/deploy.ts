/** `npm run deploy`: migrates every database, then deploys the code. It stops at the first failure; run it again. */
import { parseArgs } from 'node:util';
import { main, type Operator, shown } from './operator.ts';
import { migrateRemotely } from './remote-migrations.ts';
import {
  ENVIRONMENT,
  isUnset,
  readWranglerToml,
  Refusal,
  requireSmallVariables,
  WRANGLER_TOML,
} from './wrangler-toml.ts';

/** Runs the command. @throws Refusal */
export async function deployCommand(args: string[], operator: Operator): Promise<void> {
  const { values } = parseArgs({ args, options: { config: { type: 'string', default: WRANGLER_TOML } } });
  const { production, folder } = await readWranglerToml(values.config);
  requireSmallVariables(production);
  const unset = production.databases.filter(({ database_id: id }) => isUnset(id));
  if (unset.length > 0) {
    const names = unset.map(({ binding, database_name: name }) => `${binding} (wrangler d1 create ${name})`).join(', ');
    throw new Refusal(
      `wrangler.toml: set database_id in [env.${ENVIRONMENT}] for ${names}. docs/deploying.md has the steps.`,
    );
  }
  // The schema goes first, because the old code works with the new schema.
  for (const database of production.databases) await migrateRemotely(operator, production, database, folder);
  // wrangler would create a missing bucket, and without a location hint.
  const command = ['wrangler', 'deploy', '--env', ENVIRONMENT, '--no-experimental-provision'];
  operator.print(`\n> ${command.join(' ')}`);
  if (operator.run(command, folder).status !== 0)
    throw new Refusal(`\n${shown(command)} failed. The databases are migrated. Run \`npm run deploy\` again.`);
}

if (import.meta.main) await main(deployCommand);
