/** What every property starts from: a store with the users in it, and no line of log for each of its thousands of requests, and nothing that goes on by itself. */
import { beforeEach, vi } from 'vitest';
import { addUsers } from '../../support/client.ts';
import { keepQueuesStill } from '../../support/still-queues.ts';

vi.spyOn(console, 'log').mockImplementation(() => undefined);
// Nodes note how far they have followed, whenever they are woken: no request's doing.
keepQueuesStill();

beforeEach(addUsers);
