/** Names of users, from the host's /etc/passwd (passwd(5)). Other sources of users (LDAP, sssd) are not asked. */
import { readIfSmall } from './proc-file.ts';

const MAX_OCTETS = 1024 * 1024;
/** Milliseconds. */
const READ_AGAIN_AFTER = 60_000;

export class UserNames {
  readonly #path: string;
  readonly #now: () => number;
  #names = new Map<number, string>();
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(path: string, now: () => number) {
    this.#path = path;
    this.#now = now;
  }

  /** Null where the user has none there. */
  nameOf(uid: number): string | null {
    if (this.#now() - this.#readAt > READ_AGAIN_AFTER) {
      this.#readAt = this.#now();
      this.#names = readNames(this.#path);
    }
    return this.#names.get(uid) ?? null;
  }
}

/** The first name of each number counts, as in getpwuid(3). */
function readNames(path: string): Map<number, string> {
  const names = new Map<number, string>();
  let text = '';
  try {
    text = readIfSmall(path, MAX_OCTETS)?.toString('utf8') ?? '';
  } catch {
    // Users without names are not worth a word.
  }
  for (const line of text.split('\n')) {
    const [name, , uid] = line.split(':');
    if (name !== undefined && uid !== undefined && /^\d+$/.test(uid) && !names.has(Number(uid))) {
      names.set(Number(uid), name);
    }
  }
  return names;
}
