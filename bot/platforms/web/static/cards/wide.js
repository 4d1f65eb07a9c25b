/** Tables that are wider than their place are scrolled, also by keys. */

/**
 * Let Tab reach the tables in `root` that are wider than their place, and no others.
 *
 * @param {Element} root
 */
export function markWide(root) {
  for (const place of root.querySelectorAll(".wide")) {
    if (place.scrollWidth > place.clientWidth) {
      place.setAttribute("tabindex", "0");
      place.setAttribute("role", "group");
      place.setAttribute("aria-label", "A wide table");
    } else for (const name of ["tabindex", "role", "aria-label"]) place.removeAttribute(name);
  }
}
