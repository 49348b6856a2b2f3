// Light and dark.

import { effect, signal } from "@preact/signals";

export const theme = signal(document.documentElement.dataset.theme ?? "light");

effect(() => {
  document.documentElement.dataset.theme = theme.value;
});

export function turnTheme() {
  theme.value = theme.value === "dark" ? "light" : "dark";
  localStorage.setItem("theme", theme.value);
}
