/** Small charts of a measured text: how its bits and ranks are spread, and how they run through a long text. */
import { h } from "../dom/elements.js";
import { RANKS, rankClass } from "./tokens.js";

const SVG = "http://www.w3.org/2000/svg";
const BITS = [1, 2, 4, 8, 16];
const WIDTH = 600;
const HEIGHT = 90;
/** A curve is of means over so many tokens. */
const SPAN = 16;
/** Shorter texts are seen at a glance. */
export const LONG = 60;

/** @param {number[]} bits */
export function bitsChart(bits) {
  const names = [
    ...BITS.map((one, i) => (i === 0 ? `up to ${one}` : `${BITS[i - 1]} to ${one}`)),
    `above ${BITS.at(-1)}`,
  ];
  return histogram("Tokens by their bits", names, bits, (one) => {
    const at = BITS.findIndex((limit) => one <= limit);
    return at === -1 ? BITS.length : at;
  });
}

/** @param {number[]} ranks */
export function ranksChart(ranks) {
  const names = ["the likeliest", "among 10", "among 100", "among 1,000", "beyond"];
  return histogram("Tokens by their rank", names.slice(0, RANKS.length + 1), ranks, rankClass);
}

/**
 * @param {string} title
 * @param {string[]} names
 * @param {number[]} values
 * @param {(value: number) => number} binOf
 */
function histogram(title, names, values, binOf) {
  const counts = names.map(() => 0);
  for (const value of values) counts[binOf(value)] = (counts[binOf(value)] ?? 0) + 1;
  const most = Math.max(1, ...counts);
  const rows = names.map((name, i) =>
    h(
      "tr",
      { "data-bin": i },
      h("th", { scope: "row" }, name),
      h("td", { class: "bar", "aria-hidden": "true" }, h("div", { "--share": (counts[i] ?? 0) / most })),
      h("td", { class: "share" }, (counts[i] ?? 0).toLocaleString("en")),
    ),
  );
  return h("table", { class: "bars look-chart" }, h("caption", {}, title), h("tbody", {}, rows));
}

/**
 * Return the means of the bits along a long text, as a line; null for a short one.
 *
 * @param {number[]} bits
 */
export function curve(bits) {
  if (bits.length < LONG) return null;
  const means = meansOf(bits);
  const most = Math.max(1, ...means);
  const points = means.map((mean, i) => {
    const x = (i / Math.max(1, means.length - 1)) * WIDTH;
    return `${x.toFixed(1)},${(HEIGHT - (mean / most) * (HEIGHT - 4)).toFixed(1)}`;
  });
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "look-curve");
  svg.setAttribute("role", "img");
  const highest = means.indexOf(most);
  svg.setAttribute(
    "aria-label",
    `Bits along the text: between ${Math.min(...means).toFixed(1)} and ${most.toFixed(1)} a token, highest after about` +
      ` ${Math.round((100 * highest) / means.length)} % of it`,
  );
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("points", points.join(" "));
  svg.append(line);
  return h(
    "figure",
    { class: "look-figure" },
    h(
      "figcaption",
      { class: "legend" },
      `Bits along the text (means of ${SPAN} tokens; the highest is ${most.toFixed(1)})`,
    ),
    svg,
  );
}

/** @param {number[]} bits */
function meansOf(bits) {
  const step = Math.max(1, Math.floor(bits.length / 300));
  const means = [];
  for (let start = 0; start + SPAN <= bits.length; start += step) {
    means.push(bits.slice(start, start + SPAN).reduce((sum, one) => sum + one, 0) / SPAN);
  }
  return means;
}
