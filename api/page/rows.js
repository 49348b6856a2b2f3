// The rows of the list: page by page, and live. There are never more than `MOST` of them.

import { signal } from "@preact/signals";
import { ask, Refusal, url } from "./ask.js";

/** @typedef {import("./format.js").Row} Row */

export const MOST = 5000;
const PAGE = 200;

/** @param {Row} row */
export const placeOf = (row) => `${row.file_id}:${row.offset}`;

/** One list, of one question. */
export class Rows {
  rows = signal(/** @type {Row[]} */ ([]));
  /** Rows that came while the reader was not at the top. */
  waiting = signal(/** @type {Row[]} */ ([]));
  error = signal(/** @type {Refusal | null} */ (null));
  isLoading = signal(true);
  /** What the tail says of itself. */
  note = signal("");
  isHeld = false;
  #cursor = /** @type {string | null} */ ("");
  #asking = new AbortController();
  #tail = /** @type {EventSource | null} */ (null);
  #known = new Set();
  #batch = /** @type {Row[]} */ ([]);
  #frame = 0;

  /**
   * @param {{ filter: string, from: string, to: string }} question
   * @param {boolean} isLive
   * @param {Row[]} before what is shown until there is an answer
   */
  constructor(question, isLive, before) {
    this.question = question;
    this.rows.value = before;
    if (isLive) this.#follow();
    else this.more();
  }

  get hasMore() {
    return this.#cursor !== null;
  }

  get isFull() {
    return this.#cursor !== "" && this.rows.value.length >= MOST;
  }

  /** Ask for the next page, unless there is none. */
  async more() {
    if (this.#cursor === null || this.isFull || (this.isLoading.value && this.#cursor !== "")) return;
    this.isLoading.value = true;
    try {
      const page = await ask(url("/logs", { ...this.question, limit: PAGE, cursor: this.#cursor }), this.#asking.signal);
      const before = this.#cursor === "" ? [] : this.rows.value;
      this.#cursor = page.cursor;
      this.rows.value = [...before, ...this.#fresh(page.rows)].slice(0, MOST);
      this.error.value = null;
      this.#show(); // what came meanwhile
    } catch (error) {
      if (this.#asking.signal.aborted) return;
      this.error.value = /** @type {Refusal} */ (error);
      this.#cursor ||= null;
    }
    this.isLoading.value = false;
  }

  /** Show what came meanwhile. */
  release() {
    if (!this.waiting.value.length) return;
    this.rows.value = [...this.waiting.value, ...this.rows.value].slice(0, MOST);
    this.waiting.value = [];
  }

  end() {
    this.#asking.abort();
    this.#tail?.close();
    cancelAnimationFrame(this.#frame);
  }

  /** First listen, then ask for what is there: nothing falls between. */
  #follow() {
    this.note.value = "Connecting …";
    const tail = new EventSource(url("/logs/tail", { filter: this.question.filter }));
    this.#tail = tail;
    tail.onopen = () => {
      this.note.value = "Live";
      if (this.#cursor === "") void this.more();
    };
    tail.onerror = () => {
      if (tail.readyState !== EventSource.CLOSED) {
        this.note.value = "Disconnected: trying again …";
        return;
      }
      this.note.value = "This pipeline does not offer live rows.";
      if (this.#cursor === "") void this.more();
    };
    tail.addEventListener("rows", (event) => {
      this.#batch.push(...JSON.parse(event.data));
      this.#batch.splice(0, this.#batch.length - MOST);
      this.#frame ||= requestAnimationFrame(() => this.#show());
    });
    tail.addEventListener("gap", (event) => {
      const { missed } = JSON.parse(event.data);
      this.note.value = `Live, with a gap: ${missed ?? "some"} rows came faster than they can be shown.`;
    });
  }

  /** One change of the list a frame, however many batches came. */
  #show() {
    this.#frame = 0;
    if (this.#cursor === "") return;
    const fresh = this.#fresh(this.#batch).reverse();
    this.#batch = [];
    if (!fresh.length) return;
    if (this.isHeld) {
      this.waiting.value = [...fresh, ...this.waiting.value].slice(0, MOST);
    } else {
      this.rows.value = [...fresh, ...this.rows.value].slice(0, MOST);
    }
  }

  /**
   * Those that are not in the list yet.
   * @param {Row[]} rows
   */
  #fresh(rows) {
    const fresh = rows.filter((row) => !this.#known.has(placeOf(row)));
    for (const row of fresh) this.#known.add(placeOf(row));
    if (this.#known.size > 4 * MOST) {
      this.#known = new Set([...this.#known].slice(-2 * MOST)); // only the newest come twice
    }
    return fresh;
  }
}
