/** `npm start`: runs a registry on this machine until Ctrl-C. `npm run dev` does the same with `--reload`. */
import { HOUR, MINUTE } from '../durations.ts';
import { EACH_HOUR, EACH_MINUTE } from '../maintenance/triggers.ts';
import { DEVELOPMENT_USERS } from './development-users.ts';
import { startReloading } from './reload.ts';
import { PortInUse, startLocalRegistry } from './simulators.ts';
import { OldState } from './state-folder.ts';

const port = Number(process.env['PORT'] ?? 8787);
const stateDir = process.env['STATE_DIR'] ?? '.berth';

if (!Number.isInteger(port) || port < 1 || port > 65_535) {
  console.error(`PORT must be a port number, not "${process.env['PORT']}"`);
  process.exit(1);
}

// Only this user may read the files of the simulators, wherever they write them.
process.umask(0o077);
const reloads = process.argv.includes('--reload');
const starting = reloads
  ? startReloading({ port, stateDir }, (text) => {
      console.log(text);
      takeSignals();
    })
  : startLocalRegistry({ port, stateDir });
const registry = await starting.catch((error: unknown) => {
  console.error(error instanceof PortInUse || error instanceof OldState ? error.message : error);
  process.exit(1);
});

const host = `localhost:${port}`;
const hosts = registry.hosts.map(({ name, url, alias }) => `  ${name.padEnd(9)} ${url}   ${alias}`).join('\n');
const pushesToNodes = registry.hosts.slice(1, 2).map(
  ({ name, port: at }) => `
Push to ${name}, which passes it on to central:
  docker login localhost:${at} -u alice -p alice-dev
  docker tag alpine localhost:${at}/alice/alpine && docker push localhost:${at}/alice/alpine
`,
);
const users = DEVELOPMENT_USERS.map(
  ({ name, password, can }) => `  ${name.padEnd(9)} ${password.padEnd(13)} ${can}`,
).join('\n');
if (registry.warning !== undefined) console.error(registry.warning);
console.log(`
Berth is up.

  console   ${registry.console.url}   (sign in as one of the users below)
${hosts}
            (use its port with any name, or its name with any port)
  API       ${registry.url}/api/openapi.json
  state     ${stateDir} (STATE_DIR), requests in ${registry.logFile}

Users (on this machine only):
${users}

Push to central:
  docker login ${host} -u alice -p alice-dev
  docker tag alpine ${host}/alice/alpine && docker push ${host}/alice/alpine
  skopeo copy --dest-tls-verify=false --dest-creds alice:alice-dev \\
    docker-archive:image.tar docker://${host}/alice/app:latest
${pushesToNodes.join('')}
${reloads ? 'Changes in src/ or wrangler.toml reload it. ' : ''}Ctrl-C stops it.
`);

const fire = (cron: string): void => {
  // Failures go to the log, not to the screen. The screen may be a pipe that nobody reads, and writing to a full pipe
  // would block this process and with it the registry.
  registry.scheduled(cron).catch((error: unknown) => {
    registry.log.write({
      timestamp: Date.now(),
      level: 'error',
      message: `the scheduled handler failed: ${String(error)}`,
    });
  });
};
const triggers = [setInterval(fire, MINUTE, EACH_MINUTE), setInterval(fire, HOUR, EACH_HOUR)];
// Many local runs end within the hour.
fire(EACH_HOUR);

let stopping = false;
const stop = (): void => {
  if (stopping) return;
  stopping = true;
  for (const trigger of triggers) clearInterval(trigger);
  registry.stop().then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
};
/**
 * Replaces the signal handlers that the simulators add at each start, because they end the process before everything
 * has stopped.
 */
function takeSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.removeAllListeners(signal);
    process.on(signal, stop);
  }
}
takeSignals();
