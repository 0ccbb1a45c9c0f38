/** The part of OpenAPI 3.1 that the document of the management API uses. */

export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly example?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
  readonly anyOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
}

export interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query';
  readonly required?: boolean;
  readonly schema: Schema;
  readonly description?: string;
}

interface Content {
  readonly content?: { readonly 'application/json'?: { readonly schema: Schema } };
}

export interface Operation {
  readonly summary: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: Content;
  readonly responses: Readonly<Record<string, Content & { readonly description: string }>>;
}

export interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

/** One value in a JSON document, such as `tags[].name`. */
export interface Field {
  readonly name: string;
  readonly type: string;
  readonly isRequired: boolean;
  readonly description: string;
}

/** The most levels of a schema to list. */
const MAX_DEPTH = 5;

/** Returns the schema of a body, if it has one. */
export function schemaOf(body: Content | undefined): Schema | undefined {
  return body?.content?.['application/json']?.schema;
}

/** Lists the fields of a schema, nested ones too, each under its whole name. */
export function fieldsOf(document: Document, schema: Schema, prefix = '', depth = 0): Field[] {
  const { properties = {}, required = [], items, additionalProperties, anyOf = [] } = resolved(document, schema);
  if (depth === MAX_DEPTH) return [];
  const within = (part: Schema, name: string): Field[] => fieldsOf(document, part, name, depth + 1);
  const own = Object.entries(properties).flatMap(([key, part]) => {
    const name = prefix === '' ? key : `${prefix}.${key}`;
    const { description = '' } = resolved(document, part);
    const field = { name, type: typeOf(document, part), isRequired: required.includes(key), description };
    return [[field], within(part, name)].flat();
  });
  return [
    ...own,
    ...(items ? within(items, `${prefix}[]`) : []),
    ...(typeof additionalProperties === 'object' ? within(additionalProperties, `${prefix}.*`) : []),
    ...anyOf.flatMap((part) => within(part, prefix)),
  ];
}

/** Returns the type of a value in words. */
export function typeOf(document: Document, schema: Schema): string {
  const { type, enum: values, items, anyOf } = resolved(document, schema);
  if (values !== undefined) return values.map((value) => JSON.stringify(value)).join(' or ');
  if (anyOf !== undefined) return [...new Set(anyOf.map((part) => typeOf(document, part)))].join(' or ');
  if (items !== undefined) return `list of ${typeOf(document, items)}`;
  return typeof type === 'string' ? type : (type ?? ['any']).join(' or ');
}

/** Returns a value of the schema with its required fields, to be changed by hand. */
export function exampleOf(document: Document, schema: Schema): unknown {
  const { type, enum: values, example, properties = {}, required = [], anyOf } = resolved(document, schema);
  if (example !== undefined) return example;
  if (values !== undefined) return values[0];
  if (anyOf?.[0] !== undefined) return exampleOf(document, anyOf[0]);
  if (type === 'object' || (type === undefined && Object.keys(properties).length > 0))
    return Object.fromEntries(required.map((name) => [name, exampleOf(document, properties[name] ?? {})]));
  return VALUES[typeof type === 'string' ? type : (type?.[0] ?? '')] ?? null;
}

const VALUES: Readonly<Record<string, unknown>> = { string: '', integer: 0, number: 0, boolean: false, array: [] };

/** Resolves a schema's reference, and merges the parts of its `allOf` into one schema. */
function resolved(document: Document, schema: Schema): Schema {
  const { $ref: reference } = schema;
  const named = reference === undefined ? schema : document.components.schemas[reference.split('/').at(-1) ?? ''];
  const { allOf, ...own } = named ?? {};
  if (allOf === undefined) return own;
  const parts = allOf.map((part) => resolved(document, part));
  const properties = Object.fromEntries(parts.flatMap((part) => Object.entries(part.properties ?? {})));
  return { type: 'object', ...own, properties, required: parts.flatMap(({ required = [] }) => required) };
}
