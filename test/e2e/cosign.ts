/**
 * Signatures and attestations with a key pair of this run. The run uses neither a transparency log nor a certificate
 * authority: the signing configuration and the trusted root are empty. cosign stores a signature in one of two ways: as
 * a bundle whose subject is the image, or, in older versions, as an image with the tag `sha256-<digest>.sig`.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { User } from './clients/client.ts';
import { crane } from './clients/crane.ts';
import { type CommandResult, runCommand } from './command.ts';
import { failedWith, passwordOf, same, succeeded } from './expectations.ts';
import { buildGoProgram } from './go-program.ts';
import { differences, rootOf } from './images/layout.ts';
import { requestsDuring } from './request-log.ts';
import type { Surroundings } from './surroundings.ts';

const VERSION = 'v3.1.3';
const PLAIN = '--allow-http-registry';
const REPOSITORY = 'alice/cosign/image';
const PREDICATE = { name: 'multi-platform', spdxVersion: 'SPDX-2.3' };
const UNSIGNED = /no signatures found/;

export async function checkCosign(surroundings: Surroundings): Promise<void> {
  const { registry, images, checks } = surroundings;
  const program = await buildGoProgram('github.com/sigstore/cosign/v3/cmd/cosign', VERSION);
  const pusher = await crane(registry);
  console.log(`--- cosign ${VERSION}`);
  const home = join(registry.directory, 'cosign');
  await mkdir(home, { recursive: true });
  const run = (user: User, ...args: readonly string[]): Promise<CommandResult> => {
    const env = { HOME: home, TUF_ROOT: join(home, 'tuf'), DOCKER_CONFIG: join(home, user), COSIGN_PASSWORD: 'berth' };
    return runCommand(program, args, { timeoutSeconds: 120, env, directory: home });
  };
  const login = (user: User, password: string): Promise<CommandResult> =>
    run(user, 'login', '-u', user, '-p', password, registry.host);

  const image = images['multi-platform'];
  const { digest } = await rootOf(image.layout);
  const signed = `${registry.host}/${REPOSITORY}@${digest}`;
  const offline = ['-y', '--key', 'cosign.key', '--signing-config', 'services.json', '--trusted-root', 'root.json'];
  const verified = ['--key', 'cosign.pub', '--insecure-ignore-tlog', PLAIN];
  const sign = (user: User): Promise<CommandResult> => run(user, 'sign', ...offline, PLAIN, signed);
  const verify = (user: User, reference = signed): Promise<CommandResult> =>
    run(user, 'verify', ...verified, reference);
  const olderRoot = await rootOf(images.unikraft.layout);
  const older = `${registry.host}/alice/cosign/older@${olderRoot.digest}`;
  const saved = join(home, 'saved');
  const save = async (reference: string): Promise<void> => {
    await rm(saved, { recursive: true, force: true });
    succeeded(await run('alice', 'save', PLAIN, '--dir', saved, reference));
  };
  const check = (name: string, body: () => Promise<string | void>): Promise<boolean> =>
    checks.check(`cosign: ${name}`, body);

  await check('make a key pair', async () => {
    succeeded(await run('alice', 'generate-key-pair'));
    succeeded(await run('alice', 'signing-config', 'create', '--out', 'services.json'));
    succeeded(await run('alice', 'trusted-root', 'create', '--out', 'root.json'));
  });
  await check('a wrong password is refused', async () => {
    // The login only stores the password.
    succeeded(await login('alice', 'not-her-password'));
    failedWith(await verify('alice'), /wrong|unauthorized/i);
  });
  for (const user of ['alice', 'bob', 'platform'] as const) {
    await check(`log in as ${user}`, async () => {
      succeeded(await login(user, passwordOf(user)));
      failedWith(await verify(user, `${registry.host}/official/none:v1`), /not found|unknown/i);
    });
  }
  await check('an unsigned image is not verified', async () => {
    succeeded(await pusher.login('alice', passwordOf('alice')));
    succeeded((await pusher.push('alice', image, `${REPOSITORY}:v1`)).result);
    failedWith(await verify('alice'), UNSIGNED);
  });
  await check('sign an index, and verify it', async () => {
    succeeded(await sign('alice'));
    succeeded(await verify('alice'));
  });
  await check('attest, verify it, and download it', async () => {
    await writeFile(join(home, 'sbom.json'), JSON.stringify(PREDICATE));
    const type = ['--type', 'spdxjson'];
    succeeded(await run('alice', 'attest', ...offline, PLAIN, ...type, '--predicate', 'sbom.json', signed));
    succeeded(await run('alice', 'verify-attestation', ...verified, ...type, signed));
    const found = await run(
      'alice',
      'download',
      'attestation',
      PLAIN,
      '--predicate-type',
      'https://spdx.dev/Document',
      signed,
    );
    succeeded(found);
    const bundle = JSON.parse(found.output) as { dsseEnvelope?: { payload: string } };
    const { predicate } = JSON.parse(atob(bundle.dsseEnvelope?.payload ?? '')) as { predicate: unknown };
    same([JSON.stringify(predicate)], [JSON.stringify(PREDICATE)]);
  });
  await check('list the signature and the attestation as referrers', async () => {
    const listed = await run('alice', 'tree', PLAIN, signed);
    succeeded(listed);
    same(listed.output.match(/https:\/\/\S+(?= artifacts via OCI referrer)/g) ?? [], [
      'https://sigstore.dev/cosign/sign/v1',
      'https://spdx.dev/Document',
    ]);
  });
  await check('save the signed image, byte for byte', async () => {
    await save(signed);
    const found = await differences(image.layout, saved);
    if (found.length > 0) throw new Error(found.join('\n'));
  });
  await check('it cannot load the saved image, because it pushes a bundle’s manifest before the bundle', async () => {
    const result = await run('alice', 'load', PLAIN, '--dir', saved, `${registry.host}/alice/cosign/loaded:bundle`);
    failedWith(result, /MANIFEST_BLOB_UNKNOWN/);
  });
  await check('a signature of the older kind is attached, and verified', async () => {
    succeeded((await pusher.push('alice', images.unikraft, 'alice/cosign/older:v1')).result);
    const payload = {
      critical: {
        identity: { 'docker-reference': `${registry.host}/alice/cosign/older` },
        image: { 'docker-manifest-digest': olderRoot.digest },
        type: 'cosign container image signature',
      },
      optional: null,
    };
    await writeFile(join(home, 'payload.json'), JSON.stringify(payload));
    succeeded(await run('alice', 'sign-blob', ...offline, '--bundle', 'bundle.json', 'payload.json'));
    const bundle = JSON.parse(await readFile(join(home, 'bundle.json'), 'utf8')) as {
      messageSignature: { signature: string };
    };
    await writeFile(join(home, 'signature'), bundle.messageSignature.signature);
    const parts = ['--payload', 'payload.json', '--signature', 'signature'];
    const requests = await requestsDuring(registry, async () =>
      succeeded(await run('alice', 'attach', 'signature', PLAIN, ...parts, older)),
    );
    const tag = `${olderRoot.digest.replace(':', '-')}.sig`;
    if (!requests.some(({ method, path, status }) => method === 'PUT' && status === 201 && path.endsWith(tag)))
      throw new Error(`cosign did not push ${tag}`);
    succeeded(await verify('alice', older));
    return tag;
  });
  await check('save it with its signature, load both elsewhere, and verify them there', async () => {
    await save(older);
    const target = `${registry.host}/alice/cosign/loaded`;
    succeeded(await run('alice', 'load', PLAIN, '--dir', saved, `${target}:v1`));
    succeeded(await verify('alice', `${target}@${olderRoot.digest}`));
  });
  await check('remove the signature: the image is no longer verified', async () => {
    succeeded(await run('alice', 'clean', PLAIN, '-f', older));
    failedWith(await verify('alice', older), UNSIGNED);
  });
  await check('platform can verify alice’s image, but not sign it', async () => {
    succeeded(await verify('platform'));
    failedWith(await sign('platform'), /denied/i);
  });
  for (const user of ['bob', 'nobody'] as const) {
    await check(`${user} can neither verify nor sign alice’s image`, async () => {
      failedWith(await verify(user), /denied|unauthorized/i);
      failedWith(await sign(user), /denied|unauthorized/i);
    });
  }
  await check("bob can't remove alice's signatures, and alice can", async () => {
    failedWith(await run('bob', 'clean', PLAIN, '-f', signed), /denied/i);
    succeeded(await verify('alice'));
    succeeded(await run('alice', 'clean', PLAIN, '-f', signed));
    failedWith(await verify('alice'), UNSIGNED);
  });
}
