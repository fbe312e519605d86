// Shows uploaded files in the list of the folder. Rows that were not there when the page opened are marked as new; the
// selection and the focus are kept.

import { selectRows } from "./app.js";

const FIRST_DELAY = 300;
/** Many small files must not request a page each. */
const INTERVAL = 3000;

const folder = document.querySelector("[data-folder]");
const rowsOf = (root) => [...root.querySelectorAll("tbody tr:has(.row-link)")];
/** Changes when the object is replaced. */
const keyOf = (row) => `${row.querySelector("a.row-link")?.getAttribute("href")} ${row.querySelector("input[name=pair]")?.value ?? ""}`;
const seen = new Set(folder ? rowsOf(folder).map(keyOf) : []);
let scheduled = false;
let loadedAt = -INTERVAL;

/** Called when a file was stored. */
export function refresh() {
  if (!folder || scheduled) return;
  scheduled = true;
  setTimeout(load, Math.max(FIRST_DELAY, loadedAt + INTERVAL - performance.now()));
}

async function load() {
  scheduled = false;
  loadedAt = performance.now();
  try {
    const response = await fetch(location.href, { headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = page.querySelector("[data-folder]");
    // A page about an error or the sign-in page: the list stays as it is.
    if (fresh) show(fresh, page);
  } catch {
    // The connection is interrupted: the next stored file refreshes the list.
  }
}

function show(fresh, page) {
  for (const row of rowsOf(fresh)) {
    if (seen.has(keyOf(row))) continue;
    row.classList.add("is-new");
    const mark = document.createElement("span");
    mark.className = "badge badge-ok";
    mark.textContent = "New";
    row.querySelector(".name-cell").append(mark);
  }
  const chosen = new Set([...folder.querySelectorAll("input[name=pair]:checked")].map((box) => box.value));
  for (const box of fresh.querySelectorAll("input[name=pair]")) box.checked = chosen.has(box.value);
  const focusable = (row) => [...row.querySelectorAll("a, button, input")];
  const active = document.activeElement.closest?.("[data-folder] tbody tr");
  const at = active ? focusable(active).indexOf(document.activeElement) : -1;
  const parts = ["tbody", ".table-foot"];
  const [old, next] = [folder, fresh].map((root) => parts.map((part) => root.querySelector(part)));
  if (old.every(Boolean) && next.every(Boolean)) {
    old.forEach((part, index) => part.replaceWith(next[index]));
  } else {
    folder.replaceChildren(...fresh.childNodes);
    const browser = folder.querySelector("[data-browser]");
    if (browser) selectRows(browser);
  }
  folder.querySelector("[data-browser]")?.dispatchEvent(new Event("change"));
  if (at >= 0) focusable(rowsOf(folder).find((row) => keyOf(row) === keyOf(active)) ?? folder)[at]?.focus();
  const sum = document.querySelector("[data-folder-sum]");
  const freshSum = page.querySelector("[data-folder-sum]");
  if (sum && freshSum) sum.textContent = freshSum.textContent;
}
