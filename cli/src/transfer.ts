import { copyImage, type ImageDestination, type ImageSource } from '../../src/oci-client/copy-image.ts';
import type { StoredManifest } from '../../src/oci-client/descriptor.ts';
import { Progress, type ProgressOptions } from './progress.ts';
import { explained, removeFolders } from './registry.ts';

export interface Transfer {
  readonly source: ImageSource;
  readonly root: StoredManifest;
  readonly destination: ImageDestination;
  readonly tag: string | undefined;
  readonly referrers: boolean;
}

/**
 * Copies an image, and shows how it goes.
 * @param prepare opens both ends; the controller's signal ends them
 * @returns the manifest that was copied
 */
export async function transfer(
  { jobs, ...options }: ProgressOptions & { readonly jobs: number },
  prepare: (abort: AbortController, tell: (line: string) => void) => Promise<Transfer>,
): Promise<StoredManifest> {
  const progress = new Progress(options);
  const abort = new AbortController();
  const onInterrupt = (): void => {
    progress.stop();
    removeFolders();
    console.error('interrupted: the same command continues where this one stopped');
    // End as if the signal were not handled, so that a script that waits for this program ends too.
    process.kill(process.pid, 'SIGINT');
  };
  process.once('SIGINT', onInterrupt);
  try {
    const { source, destination, root, tag, referrers } = await prepare(abort, (line) => progress.tell(line));
    await copyImage(source, destination, root, { tag, referrers, jobs, abort, progress });
    return root;
  } catch (error) {
    throw explained(error);
  } finally {
    process.removeListener('SIGINT', onInterrupt);
    progress.stop();
  }
}
