/**
 * What every property starts from: a store with the users in it, no line of log shown for each of its thousands of
 * requests, and nothing that goes on by itself.
 */
import { beforeEach } from 'vitest';
import { addUsers } from '../../support/client.ts';
import { hideConsole } from '../../support/console.ts';
import { keepQueuesStill } from '../../support/still-queues.ts';

hideConsole();
// Nodes note how far they have followed, whenever they are woken: no request's doing.
keepQueuesStill();

beforeEach(addUsers);
