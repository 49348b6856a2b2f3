// The menu of views that this browser keeps by a name.

import { html } from "./html.js";
import { useRef, useState } from "preact/hooks";
import { keepView, views } from "./kept.js";
import { address, goTo } from "./state.js";

export function Saved() {
  const menu = useRef(/** @type {HTMLDetailsElement | null} */ (null));
  const [name, setName] = useState("");
  const close = () => menu.current?.removeAttribute("open");
  const save = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!name.trim()) return;
    keepView(name.trim(), address({ row: "" }));
    setName("");
    close();
  };
  return html`<details class="menu saved" name="menu" ref=${menu}><summary>Saved</summary><div>
    ${views.value.map((one) => html`<span key=${one.name}><a href=${one.address} onClick=${(/** @type {MouseEvent} */ event) => { if (!event.metaKey && !event.ctrlKey) { event.preventDefault(); close(); goTo(one.address); } }}>${one.name}</a>
      <button aria-label=${`Forget ${one.name}`} title="Forget it" onClick=${() => keepView(one.name, null)}>×</button></span>`)}
    <form onSubmit=${save}><input aria-label="Name of this view" placeholder="Save this view as …" maxlength="60" value=${name} onInput=${(/** @type {any} */ event) => setName(event.target.value)} />
      <button>Save</button></form>
  </div></details>`;
}
