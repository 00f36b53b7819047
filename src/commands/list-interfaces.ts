/**
 * `-D`: the interfaces that can be captured on, as `tcpdump -D` numbers them.
 */
import { escapeText } from '../sink/escape.ts';
import { CaptureError, listInterfaces } from '../source/live.ts';
import { say } from './messages.ts';

export async function listInterfacesText(): Promise<number> {
  try {
    const interfaces = await listInterfaces();
    for (const [index, { name, description, addresses }] of interfaces.entries()) {
      const details = [description, ...addresses.map(({ addr }) => addr)].filter((text) => text !== undefined);
      const suffix = details.length === 0 ? '' : ` (${details.join(', ')})`;
      process.stdout.write(`${escapeText(`${index + 1}.${name}${suffix}`)}\n`);
    }
    return 0;
  } catch (error) {
    if (!(error instanceof CaptureError)) throw error;
    say(error.message);
    return 1;
  }
}
