import { HTTPException } from 'hono/http-exception';
import type { ConsoleContext } from './context.ts';

/** The fields of a form that a page has sent. */
export class FormFields {
  readonly #fields: Readonly<Record<string, string | File | (string | File)[]>>;

  private constructor(fields: Readonly<Record<string, string | File | (string | File)[]>>) {
    this.#fields = fields;
  }

  /** @throws HTTPException 400 if the body is not a form */
  static async of(c: ConsoleContext): Promise<FormFields> {
    try {
      return new FormFields(await c.req.parseBody({ all: true }));
    } catch (cause) {
      throw new HTTPException(400, { message: 'the form cannot be read: send it again', cause });
    }
  }

  /** Returns a field's value; '' for none. */
  text(name: string): string {
    return this.all(name)[0] ?? '';
  }

  /** Returns the number in a field; undefined for none. @throws HTTPException 400 unless it is from 0 to `most` */
  number(name: string, most: number): number | undefined {
    const text = this.text(name).trim();
    if (text === '') return undefined;
    const number = Number(text);
    if (number >= 0 && number <= most) return number;
    throw new HTTPException(400, { message: `${name} must be a number from 0 to ${most}, such as 1.5` });
  }

  /** Returns all values of a field, such as of boxes that are checked. */
  all(name: string): string[] {
    return [this.#fields[name] ?? []].flat().filter((value) => typeof value === 'string');
  }
}
