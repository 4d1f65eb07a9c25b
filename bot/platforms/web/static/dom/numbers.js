/** Numbers as the page writes them. */

/**
 * Return a share as a percentage, with two digits that count.
 *
 * @param {number} share 0 to 1.
 */
export function percent(share) {
  const value = share * 100;
  if (value !== 0 && value < 0.01) return "< 0.01%";
  return `${value >= 10 || value === 0 ? value.toFixed(0) : value.toPrecision(2)}%`;
}
