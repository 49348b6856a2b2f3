// From when to when: every panel asks for the same, so that they agree.

import { computed, effect, signal } from "@preact/signals";
import { ask, Refusal, url } from "./ask.js";
import { state } from "./state.js";

export const RANGES = { "5m": 300, "15m": 900, "1h": 3600, "6h": 21600, "24h": 86400, "7d": 604800, "30d": 2592000 };
export const NAMES = { "5m": "5 minutes", "15m": "15 minutes", "1h": "hour", "6h": "6 hours", "24h": "24 hours", "7d": "7 days", "30d": "30 days" };

/** Grows when everything shall be asked anew. */
export const turn = signal(0);

/** @typedef {{ from: string, to: string, turn: number }} Span */

/** @type {import("@preact/signals").Signal<Span | null>} */
export const span = signal(null);

/** @type {import("@preact/signals").Signal<Refusal | null>} */
export const spanError = signal(null);

const wanted = computed(() => {
  const { range, from, to, view } = state.value;
  return view === "pipeline" || view === "sql" ? "" : JSON.stringify([range, from, to]);
});

effect(() => {
  const asked = turn.value;
  if (!wanted.value) return;
  const [range, from, to] = JSON.parse(wanted.value);
  if (from && to) {
    span.value = { from, to, turn: asked };
    spanError.value = null;
    return;
  }
  const asking = new AbortController();
  // Relative to the newest row, so that a log of last year is seen at once, too.
  ask(url("/logs", { limit: 1 }), asking.signal).then(
    (newest) => {
      const seconds = RANGES[/** @type {keyof typeof RANGES} */ (range)] ?? 3600;
      span.value = { from: before(newest.to, seconds), to: newest.to, turn: asked };
      spanError.value = null;
    },
    (error) => {
      if (!asking.signal.aborted) spanError.value = error;
    },
  );
  return () => asking.abort();
});

/**
 * A time so many seconds before another; microseconds stay.
 * @param {string} time
 * @param {number} seconds
 */
export function before(time, seconds) {
  const moment = new Date(new Date(time).getTime() - seconds * 1000);
  return moment.toISOString().slice(0, 23) + time.slice(23);
}
