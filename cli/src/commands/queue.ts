import type { Command } from 'commander';
import type { Queue } from '../answers.ts';
import { path } from '../api.ts';
import { connected, wantsJson, withExamples, withHost } from '../options.ts';
import { print, printJson } from '../terminal.ts';

export function retry(berth: Command): void {
  const command = withHost(berth.command('retry'))
    .description('wake a queue, and retry the jobs that it has given up')
    .argument('<store>', "the node's store, as berth status shows it")
    .argument('[job]', 'one job, as berth status STORE shows it; all of them unless set')
    .action(async (store: string, job: string | undefined) => {
      const body = job === undefined ? {} : { job };
      const to = path`/api/replication/queues/${store}/retry`;
      const answer = await (await connected(command)).call<{ retried: number }>('POST', to, { body });
      if (wantsJson(command)) return printJson(answer);
      print(`${answer.retried} ${answer.retried === 1 ? 'job is' : 'jobs are'} tried again\n`);
    });
  withExamples(
    command,
    ['berth retry fra --host index.example.com'],
    ["berth retry fra 'copy up sha256:…' --host index.example.com", 'one job'],
  );
}

export function pause(berth: Command): void {
  pausing(berth, true, 'pause', 'stop a node from announcing and copying up; deletions still arrive');
}

export function resume(berth: Command): void {
  pausing(berth, false, 'resume', 'let a paused node announce and copy up again');
}

function pausing(berth: Command, paused: boolean, name: string, description: string): void {
  const command = withHost(berth.command(name))
    .description(description)
    .argument('<store>', "the node's store, as berth status shows it")
    .action(async (store: string) => {
      const to = path`/api/replication/queues/${store}`;
      const queue = await (await connected(command)).call<Queue>('PATCH', to, { body: { paused } });
      if (wantsJson(command)) return printJson(queue);
      print(`${queue.store} is ${queue.paused ? 'paused' : 'running'}\n`);
    });
  withExamples(command, [`berth ${name} fra --host index.example.com`]);
}
