/**
 * What a packet filter does with an ICMP error that answers a datagram of this host (so that conntrack calls it RELATED),
 * as far as its rules tell. What other conditions of a rule (addresses, interfaces, limits) come to is not known.
 */

/** The error whose way through the rules is followed. */
export interface FilteredError {
  version: 4 | 6;
  type: number;
  code: number;
}

export type Match = 'yes' | 'no' | 'maybe';

export interface Condition {
  matches(error: FilteredError): Match;
  /** It is about ICMP, and not about any protocol. */
  namesIcmp?: true;
}

export type Verdict =
  | { kind: 'accept' | 'drop' | 'return' | 'continue' }
  /** A program decides. */
  | { kind: 'queue' }
  | { kind: 'jump' | 'goto'; chain: string };

export interface Rule {
  /** As the tool that lists the rules writes it. Hostile text. */
  text: string;
  conditions: readonly Condition[];
  verdict: Verdict;
}

/** A chain that packets come to by themselves. */
export interface BaseChain {
  direction: 'in' | 'out';
  /** The versions of IP that come to it. */
  versions: readonly (4 | 6)[];
  rules: readonly Rule[];
  /** The text of its policy where that is to drop; null: it accepts. */
  dropPolicy: string | null;
  /** Where its rules jump to, by name. */
  chains: ReadonlyMap<string, readonly Rule[]>;
}

export interface Ruleset {
  baseChains: BaseChain[];
  /** Rules that translate addresses. */
  natRules: number;
}

/** A rule, or a policy, that drops ICMP errors. */
export interface Drop {
  text: string;
  /** False: only with conditions that are not known to hold, or unless a rule before it accepts. */
  isCertain: boolean;
  /** It is about ICMP, or a policy; and no rule that just happens to match ICMP too. */
  isMeant: boolean;
  errors: FilteredError[];
}

export const MAYBE: Condition = { matches: () => 'maybe' };

/** In a jump from chain to chain the kernel allows as many (NFT_JUMP_STACK_SIZE). */
const MAX_DEPTH = 16;
/** Chains may be jumped to from many rules, each time anew. */
const MAX_STEPS = 100_000;

/** What drops the errors on their way through one base chain, in the order of the rules; null: there are too many of them. */
export function dropsIn(chain: BaseChain, errors: readonly FilteredError[]): Drop[] | null {
  const drops = new Map<string, Drop>();
  for (const error of errors) {
    if (!chain.versions.includes(error.version)) continue;
    const found = new Walk(chain, error).run();
    if (found === null) return null;
    for (const { text, isCertain, isMeant } of found) {
      const key = `${isCertain} ${text}`;
      const known = drops.get(key);
      if (known !== undefined) known.errors.push(error);
      else drops.set(key, { text, isCertain, isMeant, errors: [error] });
    }
  }
  return [...drops.values()];
}

class Walk {
  readonly #chain: BaseChain;
  readonly #error: FilteredError;
  readonly #drops: Omit<Drop, 'errors'>[] = [];
  /** A rule may have accepted it already. */
  #isMaybeAccepted = false;
  #steps = 0;

  constructor(chain: BaseChain, error: FilteredError) {
    this.#chain = chain;
    this.#error = error;
  }

  run(): Omit<Drop, 'errors'>[] | null {
    const { rules, dropPolicy } = this.#chain;
    const isEnded = this.#follow(rules, true, 0);
    if (this.#steps > MAX_STEPS) return null;
    if (!isEnded && dropPolicy !== null) {
      this.#drops.push({ text: dropPolicy, isCertain: !this.#isMaybeAccepted, isMeant: true });
    }
    return this.#drops;
  }

  /** Returns whether no error goes on behind them. */
  #follow(rules: readonly Rule[], isCertainHere: boolean, depth: number): boolean {
    let isCertain = isCertainHere;
    for (const rule of rules) {
      if (++this.#steps > MAX_STEPS) return true;
      const match = matchOf(rule, this.#error);
      if (match === 'no') continue;
      const { verdict } = rule;
      switch (verdict.kind) {
        case 'accept':
          this.#isMaybeAccepted = true;
          if (match === 'yes') return true;
          break;
        case 'drop':
        case 'queue':
          this.#drop(rule, isCertain && match === 'yes' && verdict.kind === 'drop');
          if (match === 'yes') return true;
          break;
        case 'return':
          if (match === 'yes') return false;
          isCertain = false;
          break;
        case 'jump':
        case 'goto': {
          const target = this.#chain.chains.get(verdict.chain);
          if (target === undefined || depth === MAX_DEPTH) break;
          const isEnded = this.#follow(target, isCertain && match === 'yes', depth + 1);
          if (match === 'yes' && isEnded) return true;
          // Whoever goes to a chain comes back to where this one was jumped from.
          if (verdict.kind === 'goto') {
            if (match === 'yes') return false;
            isCertain = false;
          }
          break;
        }
        case 'continue':
          break;
      }
    }
    return false;
  }

  #drop({ text, conditions }: Rule, isCertain: boolean): void {
    this.#drops.push({
      text,
      isCertain: isCertain && !this.#isMaybeAccepted,
      isMeant: conditions.some(({ namesIcmp }) => namesIcmp === true),
    });
  }
}

function matchOf({ conditions }: Rule, error: FilteredError): Match {
  let match: Match = 'yes';
  for (const condition of conditions) {
    const own = condition.matches(error);
    if (own === 'no') return 'no';
    if (own === 'maybe') match = 'maybe';
  }
  return match;
}

/** Of what a value is known that must be among those, or, if that is inverted, not among them. */
export function oneOf<T>(values: ReadonlySet<T>, isInverted: boolean, valueOf: (error: FilteredError) => T): Condition {
  return { matches: (error) => (values.has(valueOf(error)) !== isInverted ? 'yes' : 'no') };
}

/** The number of ICMP in each version of IP. */
export function icmpProtocol({ version }: { version: 4 | 6 }): number {
  return version === 4 ? 1 : 58;
}

/** Names of protocols that both tools write; those of /etc/protocols that are not ICMP need not be told apart. */
export function protocolNumber(name: string): number {
  if (/^\d+$/.test(name)) return Number(name);
  if (name === 'icmp') return 1;
  return name === 'ipv6-icmp' || name === 'icmpv6' ? 58 : -1;
}

/** Whether the protocol is among these. */
export function protocolIn(protocols: ReadonlySet<number>, isInverted: boolean): Condition {
  const condition = oneOf(protocols, isInverted, icmpProtocol);
  return !isInverted && (protocols.has(1) || protocols.has(58)) ? { ...condition, namesIcmp: true } : condition;
}

/** Whether the state that conntrack gives it is among these, in capitals. */
export function stateIn(states: ReadonlySet<string>, isInverted: boolean): Condition {
  return oneOf(states, isInverted, () => 'RELATED');
}
