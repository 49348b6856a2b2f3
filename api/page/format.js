// Times, numbers and fields as people read them, and as filters write them.

import { state } from "./state.js";

/** @typedef {Record<string, any>} Row */

const WHOLE = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** @param {number} value */
export const whole = (value) => WHOLE.format(value);

/** @param {number} value */
export const short = (value) => SHORT.format(value);

/** @param {number} count @param {string} one @param {string} [many] */
export const counted = (count, one, many = `${one}s`) => `${whole(count)} ${count === 1 ? one : many}`;

/** @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${+(seconds * 1000).toPrecision(3)} ms`;
  if (seconds < 120) return `${+seconds.toPrecision(3)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

/** @param {number} bytes */
export function size(bytes) {
  const power = Math.min(4, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
  return `${+(bytes / 1024 ** power).toPrecision(3)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

/**
 * A time of the API in the zone that was chosen.
 * @param {string} time in UTC, with six decimals
 * @param {"day" | "second" | "all"} [detail]
 */
export function clock(time, detail = "all") {
  let shown = time;
  if (state.value.zone === "local") {
    const moment = new Date(time);
    const here = new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000);
    if (!Number.isNaN(here.getTime())) shown = here.toISOString().slice(0, 23) + time.slice(23, 26);
  }
  const [day = "", rest = ""] = shown.split("T");
  if (detail === "day") return day;
  return `${day} ${detail === "second" ? rest.slice(0, 8) : rest.slice(0, 12)}`;
}

/** The text of a row: of a request what was asked, and what came of it. @param {Row} row */
export function text(row) {
  const parts = [];
  if (row.method || row.endpoint) {
    parts.push([row.method, row.endpoint].filter(Boolean).join(" "));
    if (row.status_code) parts.push(String(row.status_code));
    if (typeof row.duration === "number") parts.push(duration(row.duration));
    if (row.customer_id) parts.push(row.customer_id);
  }
  if (row.message) parts.push(row.message);
  if (!parts.length) parts.push(row.attributes && row.attributes !== "{}" ? row.attributes : "");
  return parts.join("  ").slice(0, 500);
}

/** What a row is coloured by. @param {Row} row */
export function tone(row) {
  return toneOf(row.level || (row.status_code ? `${String(row.status_code)[0]}xx` : ""));
}

/**
 * Of a level or a class of status codes.
 * @param {string} value
 */
export function toneOf(value) {
  const name = value.toLowerCase();
  if (/^(5xx|err|eror|severe|fail|crit|fatal|emerg|alert|d?panic)/.test(name)) return "error";
  if (/^(4xx|warn)/.test(name)) return "warn";
  if (/^(2xx|info|notice|success)/.test(name)) return "info";
  if (/^3xx/.test(name)) return "calm";
  if (/^(debug|dbug|config|fine|verbose|http|trace|trce|silly)/.test(name)) return "debug";
  return "plain";
}

/** A value as a filter writes it. @param {unknown} value */
export function quoted(value) {
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return `"${String(value ?? "").replace(/[\\"]/g, "\\$&")}"`;
}

/** The name of a key of `attributes`. @param {string} key */
export const attribute = (key) => (/^[A-Za-z0-9_.-]+$/.test(key) ? `attr.${key}` : `attr.${quoted(key)}`);

/**
 * A filter with one more condition.
 * @param {string} filter
 * @param {string} field
 * @param {unknown} value
 */
export function narrowed(filter, field, value, operator = "=") {
  const condition = `${field} ${operator} ${quoted(value)}`;
  if (!filter.trim()) return condition;
  if (filter.includes(condition)) return filter;
  return / or /i.test(filter) ? `(${filter}) and ${condition}` : `${filter} and ${condition}`;
}

/** The keys of `attributes` with their values; none where that is no whole object. @param {Row} row */
export function attributes(row) {
  try {
    const found = JSON.parse(row.attributes || "{}");
    return found && typeof found === "object" ? Object.entries(found) : [];
  } catch {
    return []; // it is shown as text
  }
}

/** The value of a field of a row, as text. @param {Row} row @param {string} name */
export function fieldOf(row, name) {
  const value = name.startsWith("attr.") ? attributes(row).find(([key]) => attribute(key) === name)?.[1] : row[name];
  if (value === null || value === undefined) return "";
  if (name === "duration") return duration(value);
  return (typeof value === "object" ? JSON.stringify(value) : String(value)).slice(0, 500);
}
