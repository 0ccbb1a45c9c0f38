/** The effects of messages where they arrive. */
import { type Context, withStore } from './context.ts';
import { noteTold } from './observed.ts';
import { CENTRAL, type Message, type NodeIndex, SLOTS, type World } from './state.ts';
import { announceTo, applyChangeLog, applyReply, mergeRows } from './world.ts';

/**
 * Applies a message: at a node a reply, a piece of the change log, or rows to keep; at central a request, whose reply
 * is lost.
 */
export function deliver(context: Context, world: World, message: Message): World {
  const { node, kind } = message;
  const store = world.stores[node];
  switch (kind) {
    case 'page':
      return world;
    case 'request':
      return withStore(world, CENTRAL, announceTo(world.stores[CENTRAL], message)[0]);
    case 'reply':
      return withStore(world, node, applyReply(context, store, message));
    case 'keep':
      return withStore(world, node, mergeRows(store, message.tags, message.manifests, true));
    case 'changeLog': {
      const applied = withStore(world, node, applyChangeLog(context, store, message));
      return { ...applied, observed: toldOfAll(world, node, message) };
    }
  }
}

function toldOfAll(world: World, node: NodeIndex, { tags, manifests, removed }: Message): World['observed'] {
  let { observed } = world;
  for (const slot of SLOTS) {
    observed = noteTold(observed, node, 'tag', slot, tags[slot]?.version ?? 0);
    observed = noteTold(observed, node, 'manifest', slot, Math.max(removed, manifests[slot]?.deleted ?? 0));
  }
  return observed;
}
