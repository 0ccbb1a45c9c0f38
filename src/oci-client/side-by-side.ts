/**
 * Runs a task for each item, several at once. The first failure aborts the others, and is thrown once they have ended.
 * @param most how many run at once
 * @param abort its signal must end the tasks
 */
export async function sideBySide<Item>(
  items: readonly Item[],
  most: number,
  abort: AbortController,
  task: (item: Item) => Promise<void>,
): Promise<void> {
  const rest = items.values();
  const work = async (): Promise<void> => {
    for (const item of rest) {
      abort.signal.throwIfAborted();
      try {
        await task(item);
      } catch (error) {
        abort.abort(error);
        throw error;
      }
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: Math.min(most, items.length) }, work));
  if (ends.some(({ status }) => status === 'rejected')) throw abort.signal.reason as Error;
}
