/**
 * `doctor`: whether a live watch would work on this host, and what would be missing from its answers.
 */
import { hostname } from 'node:os';
import { checkCapabilities, ownCapabilities } from '../doctor/capabilities.ts';
import type { Check, Status } from '../doctor/check.ts';
import { checkFirewall, natRulesIn, readFirewall } from '../doctor/firewall.ts';
import { checkConntrack, checkNamespaces, checkProcesses, needsConntrackTool } from '../doctor/host.ts';
import { checkIcmpLimits } from '../doctor/icmp-limits.ts';
import { checkCap, checkNode, checkNsenter, checkSs } from '../doctor/software.ts';
import { checkLive } from '../doctor/trial.ts';
import { LiveHost } from '../host/live-host.ts';
import { endTools } from '../host/tool.ts';
import { escapeText } from '../sink/escape.ts';
import { jsonOctets } from '../sink/json-lines.ts';
import { counted } from '../sink/numbers.ts';
import { octetsOf, Output } from '../sink/output.ts';
import { say } from './messages.ts';

/** Columns of the text. */
const STATUS_WIDTH = 9;
const NAME_WIDTH = 28;
const INDENT = ' '.repeat(STATUS_WIDTH + 2);

/**
 * Prints a line for each check as soon as it is known, or all as one JSON object, and a verdict. Returns the exit status: 0 only
 * if a live watch would work.
 */
export async function doctor({ json }: { json: boolean }): Promise<number> {
  const output = new Output(process.stdout, (error) => {
    if (error.code !== 'EPIPE') say(`standard output: ${error.message}`);
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      endTools();
      say('doctor: interrupted');
      process.exit(1);
    });
  }
  const checks: Check[] = [];
  for await (const check of allChecks()) {
    checks.push(check);
    if (json) continue;
    output.write(octetsOf(checkText(check)));
    output.flush();
  }
  const works = checks.every(({ status }) => status !== 'failed');
  output.write(json ? jsonReport(checks, works) : `${verdict(checks, works)}\n`);
  await output.finish();
  const outputFailed = output.error !== null && output.error.code !== 'EPIPE';
  return works && !outputFailed ? 0 : 1;
}

async function* allChecks(): AsyncGenerator<Check> {
  yield checkNode();
  yield* await checkCap();
  const capabilities = ownCapabilities();
  yield* checkCapabilities(capabilities, needsConntrackTool());
  const host = new LiveHost({ allNamespaces: true });
  try {
    yield* await checkProcesses(host, capabilities);
    const nsenter = await checkNsenter();
    yield nsenter;
    yield await checkNamespaces(host, nsenter);
    yield await checkSs(host.namespaces.own, host.now);
    const firewall = await readFirewall(capabilities.has('CAP_NET_ADMIN'));
    yield await checkConntrack(natRulesIn(firewall));
    yield* checkFirewall(firewall);
    yield* checkIcmpLimits();
    yield* checkLive(host);
  } finally {
    host.close();
  }
}

function checkText({ name, status, found, items = [], note, costs, remedy }: Check): string {
  const lines = [`${status.padEnd(STATUS_WIDTH)}${name.padEnd(NAME_WIDTH)}${escapeText(found)}`];
  for (const item of items) lines.push(`${INDENT}  ${escapeText(item)}`);
  if (note !== undefined) lines.push(`${INDENT}note: ${escapeText(note)}`);
  if (costs !== undefined) lines.push(`${INDENT}costs: ${escapeText(costs)}`);
  if (remedy !== undefined) lines.push(`${INDENT}remedy: ${escapeText(remedy)}`);
  return `${lines.join('\n')}\n`;
}

function verdict(checks: readonly Check[], works: boolean): string {
  const count = (wanted: Status): number => checks.filter(({ status }) => status === wanted).length;
  const rest = [
    ...(count('failed') === 0 ? [] : [`${count('failed')} failed`]),
    counted(count('warning'), 'warning'),
    `${count('unknown')} unknown`,
  ].join(', ');
  return works ? `a live watch works here: ${rest}` : `a live watch does not work here, or is not shown to: ${rest}`;
}

function jsonReport(checks: readonly Check[], works: boolean): string {
  const report = { v: 1, event: 'doctor', host: hostname(), time: new Date().toISOString(), works, checks };
  return `${jsonOctets(report)}\n`;
}
