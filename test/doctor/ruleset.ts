/** What drops an ICMP error, for the tests of rulesets. */
import { dropsIn, type FilteredError, type Ruleset } from '../../src/doctor/ruleset.ts';

export const PORT_UNREACHABLE: Record<4 | 6, FilteredError> = {
  4: { version: 4, type: 3, code: 3 },
  6: { version: 6, type: 1, code: 4 },
};

/** The texts of what drops it, in the order of the chains, each with `!` before it where that is certain. */
export function drops(ruleset: Ruleset | null, direction: 'in' | 'out', error: FilteredError): string[] {
  return ruleset!.baseChains
    .filter((chain) => chain.direction === direction)
    .flatMap((chain) => dropsIn(chain, [error])!)
    .map(({ text, isCertain }) => `${isCertain ? '!' : ''}${text}`);
}
