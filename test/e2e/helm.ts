import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { User } from './clients/client.ts';
import { type CommandResult, runCommand } from './command.ts';
import { deleteOverHttp } from './delete-over-http.ts';
import { failedWith, passwordOf, succeeded } from './expectations.ts';
import { buildGoProgram } from './go-program.ts';
import { uploadedBlobs, requestsDuring } from './request-log.ts';
import type { Surroundings } from './surroundings.ts';

const VERSION = 'v4.3.1';
const PACKAGE = 'helm.sh/helm/v4/cmd/helm';

/** Charts: packages of files with their own media types. Without a version, helm lists the tags. */
export async function checkHelm({ registry, checks }: Surroundings): Promise<void> {
  const { host, directory } = registry;
  const program = await buildGoProgram(PACKAGE, VERSION);
  console.log(`--- helm ${VERSION}`);
  const home = join(directory, 'helm');
  await mkdir(join(home, 'web/templates'), { recursive: true });
  const run = (user: User, ...args: readonly string[]): Promise<CommandResult> => {
    const own = join(home, user);
    const env = {
      HOME: own,
      HELM_CACHE_HOME: join(own, 'cache'),
      HELM_CONFIG_HOME: join(own, 'config'),
      HELM_DATA_HOME: join(own, 'data'),
    };
    return runCommand(program, args, { timeoutSeconds: 120, env, directory: home });
  };
  const login = (user: User, password: string): Promise<CommandResult> =>
    run(user, 'registry', 'login', '--plain-http', '-u', user, '-p', password, host);
  const push = (user: User, version: string, target = 'alice/charts'): Promise<CommandResult> =>
    run(user, 'push', '--plain-http', `web-${version}.tgz`, `oci://${host}/${target}`);
  const pull = async (user: User, ...options: readonly string[]): Promise<CommandResult> => {
    // helm would not pull again what is in its cache.
    await rm(join(home, user, 'cache'), { recursive: true, force: true });
    await rm(join(home, 'pulled'), { recursive: true, force: true });
    await mkdir(join(home, 'pulled'));
    return run(user, 'pull', '--plain-http', '-d', 'pulled', ...options, `oci://${host}/alice/charts/web`);
  };
  const compare = async (version: string): Promise<void> => {
    const [expected, actual] = await Promise.all(
      [`web-${version}.tgz`, `pulled/web-${version}.tgz`].map((file) => readFile(join(home, file))),
    );
    if (actual === undefined || expected?.equals(actual) !== true) throw new Error('the pulled chart has other bytes');
  };
  const check = (name: string, body: () => Promise<string | void>): Promise<boolean> =>
    checks.check(`helm: ${name}`, body);

  await check('a wrong password is refused', async () =>
    failedWith(await login('alice', 'not-her-password'), /wrong|unauthorized|401/i),
  );
  for (const user of ['alice', 'bob', 'platform'] as const) {
    await check(`log in as ${user}`, async () => succeeded(await login(user, passwordOf(user))));
  }
  await check('package and push two versions of a chart', async () => {
    for (const version of ['1.0.0', '1.1.0']) {
      await writeFile(
        join(home, 'web/Chart.yaml'),
        `apiVersion: v2\nname: web\nversion: ${version}\ndescription: a chart\n`,
      );
      await writeFile(
        join(home, 'web/templates/map.yaml'),
        'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: web }\n',
      );
      succeeded(await run('alice', 'package', 'web'));
      const chart = await readFile(join(home, `web-${version}.tgz`));
      const requests = await requestsDuring(registry, async () => succeeded(await push('alice', version)));
      const digest = `sha256:${createHash('sha256').update(chart).digest('hex')}`;
      if (!uploadedBlobs(requests, 'alice/charts/web').includes(digest)) throw new Error('the chart was not uploaded');
    }
  });
  await check('pull a version, byte for byte', async () => {
    succeeded(await pull('alice', '--version', '1.0.0'));
    await compare('1.0.0');
  });
  await check('list the versions, and pull the newest', async () => {
    const requests = await requestsDuring(registry, async () => succeeded(await pull('alice')));
    if (!requests.some(({ path, status }) => path.includes('/tags/list') && status === 200))
      throw new Error('helm did not list the tags');
    await compare('1.1.0');
  });
  await check('platform can pull from alice', async () => {
    succeeded(await pull('platform', '--version', '1.0.0'));
    await compare('1.0.0');
  });
  const refused = /denied|unauthorized|401|403/i;
  for (const user of ['bob', 'nobody'] as const) {
    await check(`${user} can't pull from alice`, async () =>
      failedWith(await pull(user, '--version', '1.0.0'), refused),
    );
  }
  for (const user of ['bob', 'platform', 'nobody'] as const) {
    await check(`${user} can't push to alice`, async () =>
      failedWith(await push(user, '1.0.0', 'alice/foreign'), refused),
    );
  }
  await check('a deleted version (over HTTP: helm cannot delete) is gone, and the others stay', async () => {
    succeeded(await deleteOverHttp(registry, 'alice', 'alice/charts/web:1.1.0'));
    failedWith(await pull('alice', '--version', '1.1.0'), /not found|404|could not locate/i);
    succeeded(await pull('alice'));
    await compare('1.0.0');
  });
}
