/**
 * The starting point of every property: a store with the users, and stopped queues.
 */
import { beforeEach } from 'vitest';
import { addUsers } from '../../support/client.ts';
import { keepQueuesStill } from '../../support/still-queues.ts';

// A queue that wakes up would write its position in the change log, which no request caused.
keepQueuesStill();

beforeEach(addUsers);
