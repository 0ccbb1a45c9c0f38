/** `npm run test:doctor`: runs the doctor, as operators do, against a registry that `npm start` runs. */
import { spawnSync } from 'node:child_process';
import { formatLine } from '../../src/local/doctor/report.ts';
import type { Line } from '../../src/local/doctor/line.ts';
import { BOTH } from '../support/local/doctor-credentials.ts';
import { removeFolder, startServer, temporaryFolder } from '../support/local/server.ts';

const folder = await temporaryFolder();
const server = await startServer(folder);
try {
  const { status, stdout, stderr } = spawnSync(
    'npm',
    ['run', '--silent', 'doctor', '--', `http://localhost:${server.port}`, '--json'],
    { encoding: 'utf8', env: { ...process.env, ...BOTH } },
  );
  const lines = stdout === '' ? [] : (JSON.parse(stdout) as { lines: Line[] }).lines;
  for (const line of lines) console.log(formatLine(line));
  if (stderr !== '') console.error(stderr);
  const passed = lines.filter(({ outcome }) => outcome === 'ok').length;
  const failed = lines.filter(({ outcome }) => outcome === 'failure' || outcome === 'warning').length;
  // An exit status without a line to explain it is a failure too.
  const unexplained = status === 0 || failed > 0 ? 0 : 1;
  console.log(`${passed} passed, ${failed + unexplained} failed`);
  process.exitCode = failed + unexplained === 0 ? 0 : 1;
} finally {
  await server.kill();
  await removeFolder(folder);
}
