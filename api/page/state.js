// What is looked at: all of it stands in the address, so that a copied one shows the same.

import { signal } from "@preact/signals";

export const DEFAULTS = {
  view: "logs",
  filter: "",
  only: "", // of "patterns": those that are new, or the rarest first
  pattern: "", // id of the pattern that is open
  baseline: "", // of "explain": what the filter is compared with
  range: "1h", // before the newest row, unless from and to are set
  from: "",
  to: "",
  by: "", // the level, where there is one
  row: "", // file_id:offset of the row that is open
  live: "",
  zone: "utc",
  days: "7",
  order: "requests",
  customer: "",
  columns: "", // of the list; their names, with commas between them
  sql: "",
  as: "", // of an answer in SQL: a chart
};

/** @typedef {typeof DEFAULTS} State */

/** @returns {State} */
function read() {
  const given = new URLSearchParams(location.search);
  /** @type {Record<string, string>} */
  const found = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) found[name] = given.get(name) ?? found[name] ?? "";
  return /** @type {State} */ (found);
}

export const state = signal(read());

addEventListener("popstate", () => (state.value = read()));

/**
 * The address of this state with some changes.
 * @param {Partial<State>} changes
 */
export function address(changes) {
  const wanted = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...state.value, ...changes })) {
    if (value !== DEFAULTS[/** @type {keyof State} */ (name)]) wanted.set(name, value);
  }
  const query = wanted.toString();
  return query ? `/?${query}` : "/";
}

/**
 * Look at something else; the browser's "back" leads here again, unless it is a detail.
 * @param {Partial<State>} changes
 */
export function go(changes, isDetail = false) {
  const to = address(changes);
  if (to === location.pathname + location.search) return;
  if (isDetail) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  state.value = { ...state.value, ...changes };
}

/** Look at what an address says. @param {string} to */
export function goTo(to) {
  history.pushState(null, "", to);
  state.value = read();
}
