import type { Command } from 'commander';
import { Failure, WrongUse } from '../errors.ts';
import { repositoryOf, wantsJson, withExamples, withJson } from '../options.ts';
import { parseImageReference } from '../reference.ts';
import { print, printJson } from '../terminal.ts';

export function rm(berth: Command): void {
  const command = withJson(berth.command('rm'))
    .description('remove a tag, or an image with all its tags')
    .argument('<image...>', '[HOST/]ORG/NAME:TAG removes the tag, [HOST/]ORG/NAME@DIGEST the image')
    .action(async (texts: readonly string[]) => {
      // All are parsed before the first is removed.
      const images = texts.map((text) => {
        const image = parseImageReference(text);
        const reference = image.digest ?? image.tag;
        if (reference === undefined) throw new WrongUse(`${text} is a repository: add the :TAG or @DIGEST to remove`);
        return { text, image, reference };
      });
      const removed: string[] = [];
      try {
        for (const { text, image, reference } of images) {
          if (!(await repositoryOf(command, image).deleteManifest(reference))) throw new Failure(`there is no ${text}`);
          removed.push(text);
          if (!wantsJson(command)) print(`removed ${text}\n`);
        }
      } finally {
        // After a failure, the list says what was removed before it.
        if (wantsJson(command)) printJson({ removed });
      }
    });
  withExamples(
    command,
    ['berth rm index.example.com/acme/app:1.2', 'the tag alone: berth restore brings it back'],
    ['berth rm index.example.com/acme/app@sha256:…', 'the image and all its tags'],
  );
}
