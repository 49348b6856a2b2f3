// What this browser remembers: what was asked before, and views by a name.

const MOST = 30;

/**
 * Texts that were kept under a name, the newest first.
 * @param {string} name
 * @returns {string[]}
 */
export function kept(name) {
  try {
    const found = JSON.parse(localStorage.getItem(name) ?? "[]");
    return Array.isArray(found) ? found.filter((one) => typeof one === "string") : [];
  } catch {
    return []; // somebody else wrote it
  }
}

/** @param {string} name @param {string} text */
export function remember(name, text) {
  if (!text.trim()) return;
  const all = [text, ...kept(name).filter((one) => one !== text)].slice(0, MOST);
  localStorage.setItem(name, JSON.stringify(all));
}
