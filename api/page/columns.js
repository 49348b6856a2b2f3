// Which columns the list has.

import { go, state } from "./state.js";

const COLUMNS = /(?:attr\."(?:[^"\\]|\\.)*"|[^,])+/g;

/** Those that were chosen; none: a line has the text of its row. @returns {string[]} */
export const chosen = () => state.value.columns.match(COLUMNS) ?? [];

/** Show a column, or no more. @param {string} name */
export function showColumn(name) {
  const old = chosen();
  const all = old.includes(name) ? old.filter((one) => one !== name) : [...old, name];
  go({ columns: all.join(",") }, true);
}
