/** Numbers for people. */

/** `1,234`. Number.prototype.toLocaleString would load ICU's tables for it, which takes 10 ms. */
export function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** `1,234 events` */
export function counted(count: number, singular: string, plural = `${singular}s`): string {
  return `${grouped(count)} ${count === 1 ? singular : plural}`;
}
