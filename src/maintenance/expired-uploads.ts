/**
 * Removes upload sessions that expired before they were finished, and the rows that kept the references of ended
 * sessions from being reused.
 */
import { logFailure } from '../log.ts';
import { OutOfStatements } from '../stores/statement-meter.ts';
import type { Store } from '../stores/store.ts';
import { deleteObjects } from '../stores/uploads/blob-objects.ts';
import {
  closeUpload,
  deleteDueWithoutObjects,
  deleteUpload,
  type DuePosition,
  expiredWithObjects,
  FIRST_DUE,
} from '../stores/uploads/expired-rows.ts';
import { selectChunks, selectObject, type UploadIdentity } from '../stores/uploads/upload-rows.ts';
import type { Task } from './round.ts';

/** Sessions that one slice looks at, separately for those with and without objects. */
const ROWS = 10_000;

/** Sessions with objects that one run removes. Each takes five statements. */
const SESSIONS = 20;

export const expiredUploads: Task = {
  name: 'uploads',
  at: 'every store',
  every: () => 0,
  async slice({ now, collects, mayGoOn }, store, { position }) {
    const at = now();
    const from = position === '' ? FIRST_DUE : (JSON.parse(position) as DuePosition);
    // Sessions with and without objects are paged separately, so that a session that cannot be removed delays no other.
    const { removed: withoutObjects, last } = await deleteDueWithoutObjects(store.database, at, ROWS, from);
    let removed = withoutObjects;
    // Without collection, sessions with objects stay: after a database restore, the only copy of a blob's bytes can
    // look like a chunk of an old session.
    const mayGo = collects && position === '';
    const withObjects = mayGo ? await expiredWithObjects(store.database, at, SESSIONS, ROWS) : [];
    for (const upload of withObjects) {
      if (!mayGoOn()) break;
      try {
        await removeSession(store, upload);
        removed++;
      } catch (error) {
        if (error instanceof OutOfStatements) throw error;
        logFailure({ upload: upload.id, error: String(error) });
      }
    }
    if (removed === 0 && last === undefined && position === '') return undefined;
    return { position: last && JSON.stringify(last), counts: { removed_uploads: removed } };
  },
};

async function removeSession({ name, database, bucket }: Store, upload: UploadIdentity): Promise<void> {
  // Closing the session first makes a client's closing request fail from here on.
  const { object, chunks } = await database.batch({
    close: closeUpload(upload, name, crypto.randomUUID()),
    object: selectObject(upload),
    chunks: selectChunks(upload.id),
  });
  await deleteObjects(bucket, object[0], chunks);
  await database.batch(deleteUpload(upload));
}
