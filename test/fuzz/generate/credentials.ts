/** Credentials as clients present them: good, wrong, and malformed. */
import * as fc from 'fast-check';
import { type User, USERS } from '../../support/client.ts';
import { CALLERS } from '../model/scopes.ts';
import { headerText } from './headers.ts';
import { anyName, goodName } from './names.ts';

export type CallerName = keyof typeof CALLERS;
export const CALLER_NAMES = Object.keys(CALLERS) as CallerName[];

/** A user and password, and the caller that they belong to; undefined for none. */
export interface Pair extends User {
  readonly caller: CallerName | undefined;
}

const good = fc.constantFrom(...CALLER_NAMES).map((caller): Pair => Object.assign({ caller }, USERS[caller]));

/**
 * Other forms of a good credential: with the organization's name, a robot's name, or the whole token as the password.
 */
const otherForms = fc
  .tuple(fc.constantFrom('alice' as const, 'aliceReader' as const, 'bob' as const), fc.nat(5))
  .map(([caller, form]): Pair => {
    const { password, organization } = USERS[caller];
    const robot = `robot$${organization}.users.kraftcloud`;
    const forms: (readonly [string, string])[] = [
      [organization, password],
      [robot, password],
      [organization, btoa(`${robot}:${password}`)],
      [robot, btoa(`${organization}:${password}`)],
      [USERS[caller].name, btoa(`${USERS[caller].name}:${password}`)],
      [robot, btoa(`${robot}:${password}`)],
    ];
    const [name = '', secret = ''] = forms[form] ?? [];
    return { name, password: secret, caller };
  });

const wrong = fc.oneof(
  fc
    .tuple(fc.constantFrom(...CALLER_NAMES), headerText)
    .map(([caller, text]): Pair => ({ name: USERS[caller].name, password: `${text}!`, caller: undefined })),
  fc.constantFrom<Pair>(
    { name: 'alice', password: 'bob-secret', caller: undefined },
    { name: 'bob', password: 'alice-secret', caller: undefined },
    { name: 'ALICE', password: 'alice-secret', caller: undefined },
    { name: 'alice', password: '', caller: undefined },
    { name: '', password: 'alice-secret', caller: undefined },
    { name: 'alice ', password: 'alice-secret', caller: undefined },
    { name: 'alice', password: 'alice-secret\n', caller: undefined },
    { name: 'alice', password: 'ALICE-SECRET', caller: undefined },
    { name: 'robot$bob.users.kraftcloud', password: 'alice-secret', caller: undefined },
    { name: 'robot$alice.users.kraftclouds', password: 'alice-secret', caller: undefined },
    { name: 'bob', password: btoa('alice:alice-secret'), caller: undefined },
    { name: 'alice', password: btoa('bob:alice-secret'), caller: undefined },
    { name: 'alice', password: btoa(btoa('alice:alice-secret')), caller: undefined },
    { name: 'robot$.users.kraftcloud', password: 'platform-secret', caller: undefined },
    { name: '', password: 'platform-secret', caller: undefined },
    { name: "' OR 1=1 --", password: "' OR 1=1 --", caller: undefined },
    { name: 'x'.repeat(5000), password: 'y'.repeat(5000), caller: undefined },
  ),
);

export const pair: fc.Arbitrary<Pair> = fc.oneof(
  { weight: 4, arbitrary: good },
  { weight: 2, arbitrary: otherForms },
  { weight: 3, arbitrary: wrong },
);

/** The value of an Authorization header, and the caller that it identifies. */
export interface Presented {
  readonly header: string | undefined;
  readonly who: CallerName | 'nobody' | 'refused';
}

function encoded({ name, password }: User): string {
  return Uint8Array.from(new TextEncoder().encode(`${name}:${password}`)).toBase64();
}

const basic = fc
  .tuple(pair, fc.constantFrom('Basic ', 'basic ', 'BASIC ', 'Basic   '))
  .map(([one, scheme]): Presented => ({ header: `${scheme}${encoded(one)}`, who: one.caller ?? 'refused' }));

const malformed = fc
  .oneof(
    fc.constantFrom(
      'Basic',
      'Basic %%%',
      'Basic !',
      `Basic ${btoa('alice')}`,
      'Basic ====',
      `Basic ${btoa('\xC3\x28:x')}`,
      'Digest x',
      'Negotiate',
    ),
    fc.constantFrom(
      `Basic${btoa('alice:alice-secret')}`,
      `Basic ${btoa('alice:alice-secret')}!`,
      `Basic alice:alice-secret`,
      'Bearer',
      'Token x',
    ),
    headerText.filter((text) => text.trim() !== '').map((text) => `X${text}`),
  )
  .map((header): Presented => ({ header, who: 'refused' }));

const nobody = fc.constantFrom<Presented>(
  { header: undefined, who: 'nobody' },
  { header: `Basic ${btoa(':')}`, who: 'nobody' },
);

export const presented = fc.oneof(
  { weight: 5, arbitrary: basic },
  { weight: 2, arbitrary: malformed },
  { weight: 1, arbitrary: nobody },
);

/** Repositories in scopes: of every organization, public and private. */
export const repositoryOfScope = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      'alice/app',
      'alice/team/x',
      'alice/teams',
      'alice/public',
      'bob/app',
      'bob/public',
      'official/base',
      'official2/base',
    ),
  },
  { weight: 1, arbitrary: goodName },
);

const actions = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .uniqueArray(fc.constantFrom('pull', 'push', 'delete', '*'), { maxLength: 4 })
      .map((list) => list.join(',')),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom('', ',', 'PULL', 'pull;push', 'pull push', 'pull,,push', 'admin', 'pull:push', '**'),
  },
);

const scope = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(repositoryOfScope, actions).map(([name, list]) => `repository:${name}:${list}`) },
  {
    weight: 1,
    arbitrary: fc.tuple(anyName, actions).map(([name, list]) => `repository:${name.toWellFormed()}:${list}`),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom('repository(plugin)', 'repository()', 'Repository', 'repositories', ''), repositoryOfScope)
      .map(([type, name]) => `${type}:${name}:pull`),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      'registry:catalog:*',
      'registry:catalog:pull',
      'registry:catalog',
      'registry:*:*',
      ':',
      '::',
      'repository::pull',
    ),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 10 }).map((text) => text.toWellFormed()) },
);

/** Several parameters with several scopes each, and occasionally more than a token accepts. */
export const scopeParameters = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.array(
      fc.array(scope, { minLength: 1, maxLength: 3 }).map((texts) => texts.join(' ')),
      { maxLength: 4 },
    ),
  },
  {
    weight: 1,
    arbitrary: fc
      .integer({ min: 98, max: 103 })
      .map((count) => Array.from({ length: count }, (_, i) => `repository:alice/r${i}:pull`)),
  },
);
