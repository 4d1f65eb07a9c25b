/**
 * Drives one Chromium for the tests: reads a request a line from standard input, writes the answer as a line.
 *
 * A request is a chain of calls on a page, such as [["getByRole", ["button"]], ["click", []]].
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { runInThisContext } from "node:vm";

import { chromium } from "playwright-core";

const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({ executablePath: process.argv[2], args: ARGUMENTS });
const contexts = new Map();
const pages = new Map();
const problems = new Map();
let lastId = 0;
let front = "";

const OPERATIONS = {
  async context({ options }) {
    const id = `context ${++lastId}`;
    contexts.set(id, await browser.newContext(options));
    contexts.get(id).setDefaultTimeout(30_000);
    return id;
  },
  async page({ context }) {
    const id = `page ${++lastId}`;
    const page = await contexts.get(context).newPage();
    const found = [];
    // What the page did wrong by itself; a lost connection is no fault of it.
    page.on("pageerror", (error) => found.push(String(error.stack ?? error)));
    page.on("console", (message) => {
      const isLoss = /WebSocket connection|ERR_CONNECTION/.test(message.text());
      if (message.type() === "error" && !isLoss) found.push(message.text());
    });
    page.on("dialog", (dialog) => {
      found.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    pages.set(id, page);
    front = id;
    problems.set(id, found);
    return id;
  },
  async call({ page, chain }) {
    let value = pages.get(page);
    // A window behind another is drawn once a second only.
    if (page !== front) await value.bringToFront();
    front = page;
    for (const [name, args] of chain) {
      const member = value[name];
      value = args === null ? member : await member.apply(value, args.map(asFunction));
    }
    if (Buffer.isBuffer(value)) return null;
    return isPlain(value) ? value : null;
  },
  async axe({ page }) {
    await pages.get(page).evaluate(axe);
    return pages.get(page).evaluate(async () => {
      const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"] });
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 200)).join(" | ")}`);
    });
  },
  problems({ page }) {
    return problems.get(page).splice(0);
  },
  async close({ context }) {
    await contexts.get(context).close();
    contexts.delete(context);
  },
};

/** Functions for the page come as their text. */
function asFunction(value) {
  return typeof value === "string" && /^(async )?\(?[\w, ]*\)? => /.test(value) ? runInThisContext(value) : value;
}

function isPlain(value) {
  if (value === null || typeof value !== "object") return typeof value !== "function";
  return Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await OPERATIONS[request.op](request)) ?? null };
  } catch (error) {
    answer = { error: String(error.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
