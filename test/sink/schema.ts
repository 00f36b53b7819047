/** event.schema.json, by Ajv. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { expect } from 'vitest';
import schema from '../../src/event.schema.json' with { type: 'json' };

const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, allErrors: true });
addFormats.default(ajv, ['ipv4', 'ipv6']);
const validate = ajv.compile(schema);

export function expectValid(line: string): void {
  const event: unknown = JSON.parse(line);
  if (!validate(event)) expect.fail(`${ajv.errorsText(validate.errors)}\n${line}`);
}
