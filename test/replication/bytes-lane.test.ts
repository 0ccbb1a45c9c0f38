/** The lane that moves bytes: two blobs at once, organizations in turn, and late blobs are seen. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';
import { copyUpJob } from '../../src/replication/machine.ts';
import type { Progress } from '../../src/replication/queue-state.ts';
import { resetCounts } from '../support/counting.ts';
import { bytesOf, type Fixture, imageOf, pushBlob, pushImage } from '../support/fixture.ts';
import { type Host, type Hosts, type NodeHost, openHosts } from '../support/hosts.ts';
import { MemoryQueueState } from '../support/memory-queue-state.ts';

const ALWAYS = (): boolean => true;
const at = ({ registry }: Host): Fixture => ({ registry }) as unknown as Fixture;
const repositoryOf = (organization: string): RepositoryName => `${organization}/app` as RepositoryName;

/** A state that notes which object was begun last. */
class NotedState extends MemoryQueueState {
  latest = '';

  override setProgress(copy: string, progress: Progress): void {
    this.latest = copy;
    super.setProgress(copy, progress);
  }
}

/** While it is shut, holds every object that is being written until the test releases it. */
class Sluice {
  readonly started: string[] = [];
  readonly #held: (() => void)[] = [];
  #isOpen = false;
  #wake = (): void => undefined;

  /** Holds back the writes of a node's queue to a host's bucket. */
  constructor(host: Host, state: NotedState) {
    host.gate = async (call, work) => {
      if (call === 'put' && state.latest !== '') {
        this.started.push(state.latest.replace(/^\w+ (?:.* )?/, ''));
        state.latest = '';
        const held = new Promise<void>((go) => this.#held.push(go));
        this.#wake();
        if (!this.#isOpen) await held;
      }
      return work();
    };
  }

  /** Waits until this many objects have been started. */
  async reached(count: number): Promise<void> {
    while (this.started.length < count) await new Promise<void>((wake) => (this.#wake = wake));
  }

  releaseOne(): void {
    this.#held.shift()?.();
  }

  open(): void {
    this.#isOpen = true;
    for (const go of this.#held) go();
  }
}

describe('a queue', () => {
  let hosts: Hosts;
  let state: NotedState;

  beforeEach(async () => {
    state = new NotedState();
    hosts = await openHosts({ states: { node1: state, node2: new MemoryQueueState() } });
  });

  /**
   * Pushes an image with layers of the given lengths, whose config is as long as the number of layers. Returns the
   * digests of the layers and then of the config.
   */
  async function pushLayers(
    node: NodeHost,
    organization: string,
    seed: number,
    lengths: readonly number[],
  ): Promise<Digest[]> {
    const repository = repositoryOf(organization);
    const layers = [];
    for (const [i, length] of lengths.entries())
      layers.push(await pushBlob(at(node), bytesOf(seed + i, length), repository));
    const config = await pushBlob(at(node), bytesOf(seed + lengths.length, lengths.length), repository);
    await pushImage(at(node), await imageOf(config, layers), [`v${seed}`], repository);
    return [...layers, config];
  }

  test('copies two blobs at a time, and takes turns with an organization that pushes meanwhile', async () => {
    const { node1, central } = hosts;
    const [a, b, c, d, config] = await pushLayers(node1, 'alice', 1, [1000, 2000, 3000, 4000]);
    await node1.queue.moveMetadata(ALWAYS);
    const sluice = new Sluice(central, state);
    const moving = node1.queue.moveBytes(ALWAYS);
    await sluice.reached(2);
    expect([sluice.started.toSorted(), node1.queue.inFlight]).toEqual([[config, a].toSorted(), 2]);
    expect(node1.queue.turns).toEqual({
      copying: expect.arrayContaining([
        { kind: 'copy up', organization: 'alice', digest: a, size: 1000 },
        { kind: 'copy up', organization: 'alice', digest: config, size: 4 },
      ]),
      waiting: [{ organization: 'alice', blobs: 3 }],
    });

    const late = await pushLayers(node1, 'bob', 11, [90_000]);
    await node1.queue.moveMetadata(ALWAYS);
    for (const next of [late[1], b, late[0], c, d]) {
      const before = sluice.started.length;
      sluice.releaseOne();
      await sluice.reached(before + 1);
      expect(sluice.started.at(-1)).toBe(next);
    }
    sluice.open();
    await moving;
    expect(state.counter('settled')).toBe(7);
    expect(node1.queue.turns).toEqual({ copying: [], waiting: [] });
  });

  test('alternates between copies down and up, and between organizations', async () => {
    const { node1, central } = hosts;
    const [a, b, config] = await pushLayers(node1, 'alice', 1, [1000, 2000]);
    await node1.queue.moveMetadata(ALWAYS);
    const copiesDown = [];
    for (const i of [1, 2, 3])
      copiesDown.push(await pushBlob(at(central), bytesOf(50 + i, 10 * i), repositoryOf('bob')));
    node1.queue.addCopiesDown(repositoryOf('bob'), copiesDown);
    const sluice = new Sluice(central, state);
    const copyDownSluice = new Sluice(node1, state);
    const started = (): string[] => [...sluice.started, ...copyDownSluice.started];
    const moving = node1.queue.moveBytes(ALWAYS);
    await Promise.all([sluice.reached(1), copyDownSluice.reached(1)]);
    expect(started()).toEqual([config, copiesDown[0]]);
    // Whichever copy ends, the organization whose turn was longer ago is next.
    copyDownSluice.releaseOne();
    await copyDownSluice.reached(2);
    expect(copyDownSluice.started).toEqual([copiesDown[0], copiesDown[1]]);
    sluice.releaseOne();
    await sluice.reached(2);
    expect(sluice.started).toEqual([config, a]);
    sluice.open();
    copyDownSluice.open();
    await moving;
    expect(sluice.started).toEqual([config, a, b]);
    expect(copyDownSluice.started).toEqual(copiesDown);
  });

  test('copies down for every organization, even if more organizations have asked for blobs than one look covers', async () => {
    const { node1 } = hosts;
    const absent = (i: number): Digest => `sha256:${String(i).padStart(64, '0')}` as Digest;
    for (let i = 0; i < 300; i++) state.addCopyDown({ repository: repositoryOf(`a${i % 100}`), digest: absent(i) });
    state.addCopyDown({ repository: repositoryOf('bob'), digest: absent(300) });
    await node1.queue.moveBytes(() => state.copyDownCount() > 301 - 110);
    expect(state.copiesDownLeft(repositoryOf('bob'), [absent(300)])).toBe(0);
  });

  test('begins a copy that arrives while the last one is in progress', async () => {
    const { node1, central } = hosts;
    const [only] = await pushLayers(node1, 'alice', 1, [1000]);
    await node1.queue.moveMetadata(ALWAYS);
    const sluice = new Sluice(central, state);
    const moving = node1.queue.moveBytes(ALWAYS);
    await sluice.reached(2);
    sluice.releaseOne();
    expect(sluice.started).toContain(only);
    const late = await pushLayers(node1, 'bob', 11, [50]);
    await node1.queue.moveMetadata(ALWAYS);
    await sluice.reached(3);
    expect(late).toContain(sluice.started[2]);
    sluice.open();
    await moving;
    expect(state.counter('settled')).toBe(4);
  });

  test('that is paused begins no further copy', async () => {
    const { node1, central } = hosts;
    await pushLayers(node1, 'alice', 1, [1000, 2000, 3000]);
    await node1.queue.moveMetadata(ALWAYS);
    const sluice = new Sluice(central, state);
    const moving = node1.queue.moveBytes(ALWAYS);
    await sluice.reached(2);
    state.setPaused(true);
    sluice.open();
    await moving;
    expect([sluice.started.length, state.counter('settled')]).toEqual([2, 2]);
    state.setPaused(false);
    await node1.queue.moveBytes(ALWAYS);
    expect(state.counter('settled')).toBe(4);
  });

  describe('that has one long copy under way', () => {
    const TEN_SECONDS = 10_000;

    afterEach(() => vi.useRealTimers());

    test('looks again after ten seconds, when the failed job is due', async () => {
      const { node1, central } = hosts;
      const [long, config = ''] = await pushLayers(node1, 'alice', 1, [1000]);
      await node1.queue.moveMetadata(ALWAYS);
      state.setJob(copyUpJob(config), { attempts: 1, nextAt: hosts.now + 500, parked: false, error: 'it failed' });
      const sluice = new Sluice(central, state);
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      const moving = node1.queue.moveBytes(ALWAYS);
      // The lane copies two blobs at once, in two loops that share a look, so the idle loop already waits.
      await sluice.reached(1);
      hosts.now += TEN_SECONDS;
      await vi.advanceTimersByTimeAsync(TEN_SECONDS - 1);
      expect(sluice.started).toEqual([long]);
      await vi.advanceTimersByTimeAsync(1);
      await sluice.reached(2);
      expect([sluice.started, node1.queue.inFlight]).toEqual([[long, config], 2]);
      sluice.open();
      await moving;
      expect(state.counter('settled')).toBe(2);
      expect(vi.getTimerCount()).toBe(0);
    });

    test('looks as soon as it is woken, and resumes the copies that were paused', async () => {
      const { node1, central } = hosts;
      await pushLayers(node1, 'alice', 1, [1000]);
      await node1.queue.moveMetadata(ALWAYS);
      const copiedDown = await pushBlob(at(central), bytesOf(50, 10), repositoryOf('bob'));
      node1.queue.addCopiesDown(repositoryOf('bob'), [copiedDown]);
      state.setPaused(true);
      const sluice = new Sluice(central, state);
      const copyDownSluice = new Sluice(node1, state);
      const moving = node1.queue.moveBytes(ALWAYS);
      await copyDownSluice.reached(1);
      expect(sluice.started).toEqual([]);
      state.setPaused(false);
      node1.queue.wakeUp();
      await sluice.reached(1);
      sluice.open();
      copyDownSluice.open();
      await moving;
      expect([state.counter('settled'), state.copyDownCount()]).toEqual([2, 0]);
    });
  });

  test('looks rarely: once for a hundred blobs, not for each', async () => {
    const { node1, central } = hosts;
    await pushLayers(
      node1,
      'alice',
      1,
      Array.from({ length: 20 }, (_, i) => 100 + i),
    );
    await node1.queue.moveMetadata(ALWAYS);
    resetCounts(central.counts);
    await node1.queue.moveBytes(ALWAYS);
    expect(state.counter('settled')).toBe(21);
    expect(central.counts.d1).toBe(2 * 21 + 2);
  });
});
