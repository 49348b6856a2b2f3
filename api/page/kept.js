// What this browser remembers: what was asked before, and views by a name.

import { signal } from "@preact/signals";

const MOST = 30;
const VIEWS = "views";

/** @typedef {{ name: string, address: string }} View */

/** @param {string} name @returns {any[]} */
function read(name) {
  try {
    const found = JSON.parse(localStorage.getItem(name) ?? "[]");
    return Array.isArray(found) ? found : [];
  } catch {
    return []; // somebody else wrote it
  }
}

/**
 * Texts that were kept under a name, the newest first.
 * @param {string} name
 * @returns {string[]}
 */
export const kept = (name) => read(name).filter((one) => typeof one === "string");

/** @param {string} name @param {string} text */
export function remember(name, text) {
  if (!text.trim()) return;
  const all = [text, ...kept(name).filter((one) => one !== text)].slice(0, MOST);
  localStorage.setItem(name, JSON.stringify(all));
}

/** Views by their names, in the order of these. */
export const views = signal(
  /** @type {View[]} */ (read(VIEWS).filter((one) => typeof one?.name === "string" && /^\/(\?|$)/.test(one.address))),
);

addEventListener("storage", (event) => {
  if (event.key === VIEWS) views.value = read(VIEWS); // another tab has changed them
});

/** @param {string} name @param {string | null} address null: forget it */
export function keepView(name, address) {
  const others = views.value.filter((one) => one.name !== name);
  const all = address === null ? others : [...others, { name, address }];
  views.value = all.sort((a, b) => (a.name < b.name ? -1 : 1));
  localStorage.setItem(VIEWS, JSON.stringify(views.value));
}
