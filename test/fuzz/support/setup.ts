/** What every property starts from: a store with the users in it, and no line of log for each of its thousands of requests. */
import { beforeEach, vi } from 'vitest';
import { addUsers } from '../../support/client.ts';

vi.spyOn(console, 'log').mockImplementation(() => undefined);

beforeEach(addUsers);
