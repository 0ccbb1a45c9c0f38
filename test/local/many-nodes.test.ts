/** Nodes up to the limits of Cloudflare: 5 KB a variable, 100 custom domains a zone. */
import { beforeEach, describe, expect, test } from 'vitest';
import { registry } from '../../src/config.ts';
import { addNodeCommand } from '../../src/local/add-node.ts';
import { deployCommand } from '../../src/local/deploy.ts';
import { retireNodeCommand } from '../../src/local/retire-node.ts';
import { type Production, readWranglerToml } from '../../src/local/wrangler-toml.ts';
import { gatherNodes, variableBytes } from '../../src/node-variables.ts';
import { recordedOperator, wranglerTomlForEachTest } from '../support/local/operator.ts';

const toml = wranglerTomlForEachTest();
const nameOf = (i: number): string => `node-${String(i).padStart(3, '0')}`;

async function add(args: string): Promise<string> {
  const operator = recordedOperator();
  await addNodeCommand([...args.split(' '), '--region', 'weur', '--config', toml.path], operator, 'ab12');
  return operator.screen();
}

async function production(): Promise<Production> {
  return (await readWranglerToml(toml.path)).production;
}

describe('100 nodes', () => {
  let with99: string | undefined;

  beforeEach(async () => {
    if (with99 === undefined) for (let i = 1; i <= 99; i++) await add(nameOf(i));
    with99 ??= await toml.read();
    await toml.write(with99);
  });

  test('fill a zone and several variables; the next host is refused, with advice', async () => {
    await expect(add(nameOf(100))).rejects.toThrow(
      'example.com has 100 custom domains in wrangler.toml, and Cloudflare allows 100 in a zone. Add the node under a ' +
        'domain of another zone with --domain, or serve the nodes by a route with a wildcard: docs/deploying.md',
    );
    expect(await toml.read()).toBe(with99);

    expect(await add(`${nameOf(100)} --domain example.net`)).toContain(
      'Nodes: 100.\nCustom domains of example.net: 1 of',
    );
    const withLimits = (node: object) => ({ ...node, limit_bytes: 500_000_000_000_000, idle_days: 3650 });
    const { variables } = await production();
    expect(Object.keys(variables)).toEqual(['REGISTRY', 'NODES_2', 'NODES_3', 'NODES_4']);
    for (const value of Object.values(variables) as (object[] | { nodes: object[] })[]) {
      expect(variableBytes(value)).toBeLessThanOrEqual(5000);
      const limited = Array.isArray(value) ? value.map(withLimits) : { ...value, nodes: value.nodes.map(withLimits) };
      expect(variableBytes(limited)).toBeLessThanOrEqual(5000);
    }
    const { nodes } = registry.parse((gatherNodes(variables) as { REGISTRY: unknown }).REGISTRY);
    expect(nodes.map(({ name }) => name)).toEqual(Array.from({ length: 100 }, (_, i) => nameOf(i + 1)));
  });

  test('a route with a wildcard takes more hosts, which get no custom domain', async () => {
    const route = '[[env.production.routes]]\npattern = "*.example.com/*"\nzone_name = "example.com"\n\n';
    await toml.write((await toml.read()).replace('[env.production.vars.REGISTRY]', `${route}$&`));
    const before = await toml.read();
    await add(nameOf(100));
    await add(nameOf(101));
    const { nodes, routes } = await production();
    expect([nodes.length, routes.length]).toEqual([101, 101]);
    for (const name of [nameOf(101), nameOf(100)]) await retire(name);
    expect(await toml.read()).toBe(before);
  });

  test('a node is retired from the variable that has it, and its place is taken again', async () => {
    const { variables } = await production();
    const second = (variables['NODES_2'] as { name: string }[])[0]?.name ?? '';
    await retire(second);
    expect(JSON.stringify((await production()).variables)).not.toContain(`"${second}"`);
    await add(nameOf(999));
    expect((await production()).variables['NODES_2']).toContainEqual(expect.objectContaining({ name: nameOf(999) }));
  });
});

/** None of the nodes was deployed, so central is not asked. */
async function retire(name: string): Promise<void> {
  await retireNodeCommand([name, '--config', toml.path], recordedOperator(), {});
}

test('a variable of more than 5,000 bytes is refused before anything is deployed', async () => {
  const origins = Array.from({ length: 200 }, (_, i) => `"https://ui-${i}.example.com"`).join(', ');
  const text = (await toml.read()).replace(
    /(?<=\[env\.production\.vars\.REGISTRY\]\n)/,
    `cors_origins = [${origins}]\n`,
  );
  await toml.write(text);
  const operator = recordedOperator();
  const refusal = /^The variable REGISTRY in .* has 5\d{3} bytes as JSON, and Cloudflare takes 5000\. Move some/;
  await expect(deployCommand(['--config', toml.path], operator)).rejects.toThrow(refusal);
  await expect(add('fra')).rejects.toThrow(refusal);
  expect(operator.ran).toEqual([]);
});

test('a node that the Worker would refuse is named by its variable and its index in it', async () => {
  const node = '\n[[env.production.vars.NODES_2]]\nname = "fra"\nhosts = ["fra.example.com"]\nstore = "fra"\nregion = ';
  await toml.write(`${await toml.read()}${node}"weur"\n${node.replaceAll('fra', 'ams')}"europe"\n`);
  await expect(deployCommand(['--config', toml.path], recordedOperator())).rejects.toThrow(
    /^The Worker would refuse \[env\.production\] of wrangler\.toml: NODES_2\.1\.region: /,
  );
});
