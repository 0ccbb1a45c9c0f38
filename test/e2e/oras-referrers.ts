import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Surroundings } from './surroundings.ts';
import type { Oras } from './clients/oras.ts';
import { failedWith, same, succeeded } from './expectations.ts';

const ARTIFACT_TYPE = 'application/vnd.example.sbom';

/** Checks a file that is not an image: pushed by itself, and attached to an image as a referrer. */
export async function checkReferrers(
  { run, directory, push }: Oras,
  { registry, images, checks }: Surroundings,
): Promise<void> {
  const file = `{"spdxVersion":"SPDX-2.3"}\n`;
  const repository = `${registry.host}/alice/oras/artifact`;
  await writeFile(join(directory, 'sbom.json'), file);
  const compare = async (reference: string): Promise<void> => {
    succeeded(await run('alice', 'pull', '--no-tty', '-o', 'pulled', reference));
    same([await readFile(join(directory, 'pulled/sbom.json'), 'utf8')], [file]);
  };

  await checks.check('oras: push a file, and pull it, byte for byte', async () => {
    const type = ['--artifact-type', ARTIFACT_TYPE];
    succeeded(await run('alice', 'push', '--no-tty', ...type, `${repository}:file`, 'sbom.json:application/json'));
    await compare(`${repository}:file`);
  });
  await checks.check('oras: attach it to an image, discover it there, and pull it', async () => {
    succeeded((await push('alice', images['multi-platform'], 'alice/oras/artifact:image')).result);
    const type = ['--artifact-type', ARTIFACT_TYPE];
    succeeded(await run('alice', 'attach', '--no-tty', ...type, `${repository}:image`, 'sbom.json:application/json'));
    const found = await run('alice', 'discover', '--format', 'json', `${repository}:image`);
    succeeded(found);
    const { referrers = [] } = JSON.parse(found.output) as { referrers?: { digest: string; artifactType: string }[] };
    same(
      referrers.map(({ artifactType }) => artifactType),
      [ARTIFACT_TYPE],
    );
    await compare(`${repository}@${referrers[0]?.digest}`);
  });
  await checks.check("oras: bob can't attach to alice's image", async () => {
    const type = ['--artifact-type', ARTIFACT_TYPE];
    const result = await run('bob', 'attach', '--no-tty', ...type, `${repository}:image`, 'sbom.json:application/json');
    failedWith(result, /denied|403/i);
  });
}
