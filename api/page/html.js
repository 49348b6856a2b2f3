// Templates of htm as nodes of Preact.

import "@preact/signals";
import htm from "htm";
import { Component, h } from "preact";

// Nodes that two renders share keep their parents, and these all other nodes of their time. So none are shared: else a
// tab that follows a thousand rows a second grows by 25 MiB a minute. First, no component is left out of a render, as
// signals would have it where its properties are the same.
delete Component.prototype.shouldComponentUpdate;

/**
 * Second, each node is made anew: htm would keep those without values.
 * @this {number[]}
 * @param {any} type
 * @param {any} properties
 * @param {any[]} children
 */
function made(type, properties, ...children) {
  this[0] = 3; // as its README says, "Caching"
  return h(type, properties, ...children);
}

export const html = htm.bind(/** @type {any} */ (made));
