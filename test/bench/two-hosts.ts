/**
 * Two hosts for what is measured live: namespaces of a lab, a link between them, and a server that answers any number of errors.
 */
import { afterAll, beforeAll, test, type TestContext } from 'vitest';
import { CLI } from '../command.ts';
import { delay, Lab, type LabProcess, type Namespace } from '../lab/network.ts';
import { isWanted, skipRow } from './rows.ts';

export const CLIENT = '192.0.2.10';
export const SERVER = '192.0.2.20';
export const DEVICE = 'eth0';

export const WATCH = [process.execPath, CLI];
export const TCPDUMP = ['tcpdump', '-nn'];

export interface TwoHosts {
  lab: Lab;
  client: Namespace;
  server: Namespace;
  link: ReturnType<Lab['link']>;
  /** Starts it in the client's namespace and resolves when it captures. */
  listening: (argv: readonly string[]) => Promise<LabProcess>;
}

/** They are there while tests run, if there is no reason why not. */
export function useTwoHosts(whyNot: string | null): () => TwoHosts {
  let hosts: TwoHosts | undefined;
  beforeAll(() => {
    if (whyNot !== null) return;
    const lab = new Lab();
    const client = lab.namespace('client');
    const server = lab.namespace('server');
    const link = lab.link(client, `${CLIENT}/24`, server, `${SERVER}/24`);
    lab.ip(client, 'route', 'add', 'default', 'via', SERVER);
    lab.sysctl(server, { 'net.ipv4.icmp_ratelimit': 0, 'net.ipv4.icmp_msgs_per_sec': 100_000 });
    const listening = async (argv: readonly string[]): Promise<LabProcess> => {
      const process = lab.spawn(client, argv);
      await process.waitFor(/listening on/, 'stderr');
      // tcpdump says so before it does.
      await delay(300);
      return process;
    };
    hosts = { lab, client, server, link, listening };
  });
  afterAll(() => hosts?.lab.close());
  return () => hosts!;
}

/** A test of one row, or of none where it is not wanted, or a loud skip. */
export function bench(what: string, whyNot: string | null, body: (what: string) => Promise<void>): void {
  if (!isWanted(what)) return;
  test(what, async (context: TestContext) => {
    if (whyNot === null) return body(what);
    skipRow(what, whyNot);
    context.skip();
  });
}
