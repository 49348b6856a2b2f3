// The filter: a line of text, what could stand next, and what is wrong at its place.

import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { quoted } from "./format.js";
import { kept, remember } from "./kept.js";
import { go, state } from "./state.js";

/** Columns and values that were seen in answers. */
export const columns = signal(/** @type {string[]} */ ([]));
export const values = signal(/** @type {Record<string, string[]>} */ ({}));

const PAST = "filters";
const WORD = /[A-Za-z0-9_."-]*$/;

/**
 * What could stand where the text ends: [what is shown, the whole text with it].
 * @param {string} text
 * @returns {[string, string][]}
 */
function following(text) {
  if (!text) return kept(PAST).slice(0, 8).map((one) => [one, one]);
  const compared = /([A-Za-z0-9_.]+)\s*(?:=|!=)\s*("?[^\s"()]*)$/.exec(text);
  const begun = compared?.[2] ?? WORD.exec(text)?.[0] ?? "";
  const before = text.slice(0, text.length - begun.length);
  const could = compared
    ? (values.value[compared[1] ?? ""] ?? []).map((value) => (/^[A-Za-z0-9_./:-]+$/.test(value) ? value : quoted(value)))
    : begun ? [...columns.value, "and", "or", "not"] : [];
  return could
    .filter((one) => one !== begun && one.toLowerCase().startsWith(begun.toLowerCase()))
    .slice(0, 8)
    .map((one) => [one, `${before}${one}${compared ? "" : " "}`]);
}

/** @param {{ error: Error | null, name?: "filter" | "baseline", label?: string }} props */
export function FilterBox({ error, name = "filter", label = "Filter" }) {
  const box = useRef(/** @type {HTMLInputElement | null} */ (null));
  const [text, setText] = useState(state.value[name]);
  const [isOpen, setOpen] = useState(false);
  const [chosen, setChosen] = useState(-1);
  useEffect(() => setText(state.value[name]), [state.value[name]]);

  const offered = isOpen ? following(text) : [];
  const use = (/** @type {string} */ wanted) => {
    remember(PAST, wanted);
    setOpen(false);
    setChosen(-1);
    go({ [name]: wanted, row: "" });
  };
  const take = (/** @type {string} */ whole) => {
    setText(whole);
    setChosen(-1);
    if (!text) use(whole);
    box.current?.focus();
  };
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      setOpen(true);
      const step = event.key === "ArrowDown" ? 1 : -1;
      setChosen(Math.max(-1, Math.min(offered.length - 1, chosen + step)));
    } else if (event.key === "Tab" && offered.length && chosen >= 0) {
      event.preventDefault();
      take(offered[chosen]?.[1] ?? text);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (chosen >= 0 && offered[chosen]) take(offered[chosen]?.[1] ?? text);
      else use(text);
    } else if (event.key === "Escape") {
      event.stopPropagation();
      if (isOpen && offered.length) setOpen(false);
      else box.current?.blur();
    }
  };
  const wrong = /at character (\d+)/.exec(error?.message ?? "");
  const list = `${name}-offered`;
  return html`<div class="filter">
    <input ref=${box} id=${name} type="text" spellcheck=${false} autocomplete="off" autocapitalize="off"
      placeholder=${name === "filter" ? 'status_code >= 500 and endpoint ~ "/orders"   — or any text' : "everything else"}
      aria-label=${label} aria-invalid=${Boolean(error)} aria-describedby=${error ? `${name}-error` : undefined}
      role="combobox" aria-expanded=${offered.length > 0} aria-controls=${list} aria-autocomplete="list"
      aria-activedescendant=${chosen >= 0 ? `${list}-${chosen}` : undefined}
      value=${text} onInput=${(/** @type {any} */ event) => { setText(event.target.value); setOpen(true); setChosen(-1); }}
      onFocus=${() => setOpen(true)} onBlur=${() => setOpen(false)} onKeyDown=${onKey} />
    ${text && html`<button class="clear" aria-label=${`Empty the ${label.toLowerCase()}`} title="Empty" onMouseDown=${(/** @type {Event} */ event) => { event.preventDefault(); setText(""); use(""); }}
      onClick=${() => use("")}>×</button>`}
    <ul id=${list} class="offered" role="listbox" aria-label="What could stand here" hidden=${!offered.length}>
      ${offered.map(([shown, whole], i) => html`<li id=${`${list}-${i}`} role="option" aria-selected=${i === chosen}
        onMouseDown=${(/** @type {Event} */ event) => { event.preventDefault(); take(whole); }}>${shown}</li>`)}
    </ul>
    ${error && html`<div class="wrong" id=${`${name}-error`} role="alert">
      ${wrong && text === state.value[name] && Number(wrong[1]) < 120 && html`<i aria-hidden="true" style=${{ paddingLeft: `${Number(wrong[1]) - 1}ch` }}>▲</i>`}
      ${error.message}</div>`}
  </div>`;
}
