import { afterAll, beforeAll } from 'vitest';
import { removeFolder, type Server, startServer, temporaryFolder } from './server.ts';

/** Starts a server for all tests of a file. A test that kills it must start another with `restart`. */
export function serverForFile(): { current: Server; readonly folder: string; restart(): Promise<void> } {
  const file = {
    current: undefined as unknown as Server,
    folder: '',
    restart: async () => {
      file.current = await startServer(file.folder, file.current.port);
    },
  };
  beforeAll(async () => {
    file.folder = await temporaryFolder();
    file.current = await startServer(file.folder);
  });
  afterAll(async () => {
    await file.current.kill();
    await removeFolder(file.folder);
  });
  return file;
}
