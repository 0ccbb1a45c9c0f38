/** The requests that change a repository, each with its effect on the model. */
import type { Content, Document, Outgoing, RepositoryState, Session } from './registry-model.ts';

export interface Change {
  readonly name: string;
  readonly request: Outgoing;
  /** The status of the answer. */
  readonly status: number;
  /** The status if an earlier request, whose answer was lost, has already made the change. */
  readonly statusIfDone: number;
  readonly apply: (state: RepositoryState) => void;
  /** The only other effect that a request without a success may have had, if it has steps that clients can see. */
  readonly firstStep?: (state: RepositoryState) => void;
}

/** The smallest part that R2 allows in a multipart upload. Larger chunks with a range become parts. */
export const PART_BYTES = 5 * 1024 ** 2;

/** Appends a chunk to the session. */
export function patch(
  session: Session,
  bytes: Uint8Array<ArrayBuffer>,
  how: 'chunked' | 'with range' | 'with length',
): Change {
  const end = session.size + bytes.byteLength;
  const headers = how === 'with range' ? { 'Content-Range': `${session.size}-${end - 1}` } : {};
  return {
    name: how === 'with range' && bytes.byteLength >= PART_BYTES ? 'PATCH of parts' : `PATCH ${how}`,
    request: { method: 'PATCH', path: session.location, headers, body: bytes, chunked: how === 'chunked' },
    status: 202,
    statusIfDone: 416,
    apply: (state) => {
      if (state.session !== undefined) state.session.size = end;
    },
  };
}

/** Closes the session with the rest of the blob, which may be nothing. */
export function close(session: Session, blob: Content, rest: Uint8Array<ArrayBuffer>, chunked: boolean): Change {
  const body = rest.byteLength === 0 ? {} : { body: rest, chunked };
  return {
    name: `PUT ${rest.byteLength === 0 ? 'empty' : chunked ? 'chunked' : 'with length'}`,
    request: { method: 'PUT', path: withQuery(session.location, `digest=${blob.digest}`), ...body },
    status: 201,
    statusIfDone: 201,
    apply: (state) => {
      addBlob(state, blob);
      // Closing a session that had no bytes may leave no trace: the session is then as good as new.
      if (session.size === 0) state.session = undefined;
      else if (state.session !== undefined) state.session.open = false;
    },
    // The session keeps the bytes, so that a client can go on from there.
    firstStep: (state) => {
      if (state.session !== undefined) state.session.size = blob.bytes.byteLength;
    },
  };
}

export function postWhole(repository: string, blob: Content): Change {
  return {
    name: 'POST with digest',
    request: { method: 'POST', path: `/v2/${repository}/blobs/uploads/?digest=${blob.digest}`, body: blob.bytes },
    status: 201,
    statusIfDone: 201,
    apply: (state) => addBlob(state, blob),
  };
}

/** Mounts a blob that the other repository has. */
export function mount(repository: string, blob: Content, from: string): Change {
  return {
    name: 'mount',
    request: {
      method: 'POST',
      path: `/v2/${repository}/blobs/uploads/?mount=${blob.digest}&from=${encodeURIComponent(from)}`,
    },
    status: 201,
    statusIfDone: 201,
    apply: (state) => addBlob(state, blob),
  };
}

/** Puts a manifest by one tag, or by its digest with any number of tags. */
export function putManifest(repository: string, document: Document, tags: readonly string[]): Change {
  const [tag, ...more] = tags;
  const byTag = tag !== undefined && more.length === 0;
  const query = byTag || tags.length === 0 ? '' : `?${tags.map((name) => `tag=${name}`).join('&')}`;
  return {
    name: byTag ? 'PUT manifest by tag' : 'PUT manifest by digest',
    request: {
      method: 'PUT',
      path: `/v2/${repository}/manifests/${byTag ? tag : document.digest}${query}`,
      headers: { 'Content-Type': document.mediaType },
      body: document.bytes,
    },
    status: 201,
    statusIfDone: 201,
    apply: (state) => {
      state.known = true;
      state.manifests.set(document.digest, document);
      state.gone.delete(`manifests/${document.digest}`);
      for (const name of tags) {
        state.tags.set(name, document.digest);
        state.gone.delete(`manifests/${name}`);
      }
    },
  };
}

export function deleteTag(repository: string, tag: string): Change {
  return deletion(repository, `manifests/${tag}`, 'DELETE tag', (state) => {
    state.tags.delete(tag);
    state.gone.add(`manifests/${tag}`);
  });
}

/** Deletes a manifest, which also hides its tags. */
export function deleteManifest(repository: string, digest: string): Change {
  return deletion(repository, `manifests/${digest}`, 'DELETE manifest', (state) => {
    state.manifests.delete(digest);
    state.gone.add(`manifests/${digest}`);
    for (const [tag, target] of state.tags) {
      if (target !== digest) continue;
      state.tags.delete(tag);
      state.gone.add(`manifests/${tag}`);
    }
  });
}

export function deleteBlob(repository: string, digest: string): Change {
  return deletion(repository, `blobs/${digest}`, 'DELETE blob', (state) => {
    state.blobs.delete(digest);
    state.gone.add(`blobs/${digest}`);
  });
}

function deletion(repository: string, path: string, name: string, apply: Change['apply']): Change {
  const request = { method: 'DELETE', path: `/v2/${repository}/${path}` };
  return { name, request, status: 202, statusIfDone: 404, apply };
}

function addBlob(state: RepositoryState, blob: Content): void {
  state.blobs.set(blob.digest, blob);
  state.gone.delete(`blobs/${blob.digest}`);
}

function withQuery(path: string, query: string): string {
  return `${path}${path.includes('?') ? '&' : '?'}${query}`;
}
