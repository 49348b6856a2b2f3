// What surrounds an answer: that it is on its way, or why it is not there.

import { html } from "./html.js";
import { clock, counted } from "./format.js";
import { address, go } from "./state.js";

/**
 * @param {{ error: Error & { status?: number } | null }} props
 */
export function Problem({ error }) {
  if (!error) return null;
  const text = error.status === 404 && error.message === "Not Found" ? "This pipeline does not offer that." : error.message;
  return html`<p class="problem" role="alert">${text}</p>`;
}

/**
 * How complete an answer is, where it is not.
 * @param {{ of: any }} props
 */
export function Completeness({ of }) {
  const found = of?.completeness;
  if (!found) return null;
  const until = found.complete_to ? ` after ${clock(found.complete_to, "second")}` : "";
  const lacks = [
    found.files_behind && `${counted(found.files_behind, "file")} behind`,
    found.blocks_in_doubt && `${counted(found.blocks_in_doubt, "block")} in doubt`,
  ].filter(Boolean);
  const open = (/** @type {Event} */ event) => {
    event.preventDefault();
    go({ view: "pipeline" });
  };
  return html`${lacks.length > 0 && html`<span class="note">Rows${until} may be missing: ${lacks.join(", ")}. </span>`}
    ${found.dead_letters > 0 && html`<a class="note" href=${address({ view: "pipeline" })} onClick=${open}>${counted(found.dead_letters, "line")} of this time could not be read</a>`}`;
}

/**
 * A part of a view.
 * @param {{ title: string, class?: string, answer?: { error: any, isLoading: boolean, data: any }, children?: any, aside?: any }} props
 */
export function Panel({ title, answer, children, aside, class: name = "" }) {
  return html`<section class="panel ${name}" aria-label=${title} aria-busy=${answer?.isLoading ?? false}>
    <header><h2>${title}</h2>${aside}</header>
    <${Problem} error=${answer?.error ?? null} />
    ${answer?.data || !answer ? children : answer.isLoading && html`<p class="quiet">Asking …</p>`}
  </section>`;
}
