/** The cache of a data center, as far as Berth uses it. All isolates of a test share one. */
interface Kept {
  readonly text: string;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

export class DataCenterCache {
  readonly kept = new Map<string, Kept>();

  async match(url: string): Promise<Response | undefined> {
    const found = this.kept.get(url);
    return found !== undefined && Date.now() < found.until ? new Response(found.text) : undefined;
  }

  async put(url: string, response: Response): Promise<void> {
    const seconds = /^max-age=(\d+)$/.exec(response.headers.get('Cache-Control') ?? '')?.[1];
    if (seconds === undefined) throw new TypeError('the response does not say how long to keep it');
    this.kept.set(url, { text: await response.text(), until: Date.now() + 1000 * Number(seconds) });
  }

  async delete(url: string): Promise<boolean> {
    return this.kept.delete(url);
  }
}
