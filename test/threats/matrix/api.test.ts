/** Permissions of the management API: every caller × every route × every subject. The rule is in `rule.ts`. */
import { expect } from 'vitest';
import { type Route, ROUTES, type Subject, SUBJECTS } from './api-routes.ts';
import { type Caller, managersOf } from './callers.ts';
import { describeCombinations } from './combinations.ts';
import { AT_CENTRAL } from './repositories.ts';
import { expectedOfApi } from './rule.ts';
import type { World } from './world.ts';

let world: World;

const expectedOf = (caller: Caller, route: Route, subject: Subject) =>
  expectedOfApi(caller, route, subject, route.answer(subject), route.grants?.(subject));

async function run(authorization: string | undefined, caller: Caller, route: Route, subject: Subject): Promise<void> {
  const path = `/api/${route.path(subject)}`;
  const where = `${route.method} ${path} as ${caller.name}`;
  const expected = expectedOf(caller, route, subject);
  const body = route.body?.(subject);
  const response = await world.ask(
    route.method,
    path,
    authorization,
    body && { type: 'application/json', content: JSON.stringify(body) },
  );
  const [status, code] = expected.answer;
  const text = await response.text();
  expect({
    where,
    status: response.status,
    code: code === undefined ? undefined : (JSON.parse(text) as { errors: { code: string }[] }).errors[0]?.code,
    challenge: response.headers.get('WWW-Authenticate'),
  }).toEqual({
    where,
    status,
    code,
    challenge: expected.challenge === undefined ? null : 'Basic realm="Berth", charset="UTF-8"',
  });
}

async function checkCaller(caller: Caller): Promise<number> {
  const authorization = await caller.authorization(world.registry);
  let asked = 0;
  for (const subject of SUBJECTS) {
    const allowed = (route: Route): boolean => expectedOf(caller, route, subject).allowed;
    for (const route of ROUTES.filter((each) => !allowed(each))) {
      await run(authorization, caller, route, subject);
      asked += 1;
    }
    expect(await world.changes(), `what refused requests changed: ${subject.repository}`).toEqual([]);
    for (const route of ROUTES.filter(allowed)) {
      await run(authorization, caller, route, subject);
      asked += 1;
      if (route.method !== 'GET') await world.restore();
    }
  }
  return asked;
}

describeCombinations({
  place: AT_CENTRAL,
  callers: managersOf(AT_CENTRAL.host),
  routes: ROUTES,
  subjects: SUBJECTS,
  open: (opened) => {
    world = opened;
  },
  check: checkCaller,
});
