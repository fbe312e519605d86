// Enhancements for every page: copy buttons, closing menus, forms that are sent once, and row selection. Every page also works without scripts.

document.documentElement.classList.add("has-script");

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const label = button.getAttribute("aria-label");
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.classList.add("is-done");
      button.setAttribute("aria-label", "Copied");
      button.title = "Copied";
    } catch {
      button.title = "The browser blocked copying";
    }
    setTimeout(() => {
      button.classList.remove("is-done");
      button.setAttribute("aria-label", label);
      button.title = "Copy";
    }, 2000);
  });
}

const menus = [...document.querySelectorAll("details.menu")];
document.addEventListener("click", (event) => {
  for (const menu of menus) if (menu.open && !menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of menus) {
    if (!menu.open) continue;
    menu.open = false;
    menu.querySelector("summary")?.focus();
  }
});
for (const menu of menus) {
  menu.addEventListener("toggle", () => {
    if (menu.open && document.activeElement === menu.querySelector("summary")) menu.querySelector("input:not([type=hidden], [hidden])")?.focus();
  });
}

// A second click on a submit button does not send the form again. After 10 seconds it can be sent again, in case the first
// request was lost.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.getAttribute("method")?.toLowerCase() !== "post") return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "1";
  setTimeout(() => delete form.dataset.sent, 10000);
});
// The browser may show this page again without loading it.
window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

/** Size in decimal units, formatted as on the server. */
export function size(bytes) {
  if (bytes < 1000) return `${bytes}\u202fB`;
  const units = ["KB", "MB", "GB", "TB", "PB"];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(unit === 0 && value >= 100 ? 0 : 1)}\u202f${units[unit]}`;
}

/** `3 files`, `1 file`. */
export function files(count) {
  return `${count.toLocaleString("en")} ${count === 1 ? "file" : "files"}`;
}

/** The selection in a list of objects. Its rows may be replaced; a `change` event on the list updates the selection. */
export function selectRows(browser) {
  const boxesNow = () => [...browser.querySelectorAll(".pick .check")];
  const all = browser.querySelector("[data-all]");
  const words = browser.querySelector("[data-selected]");
  const bytes = browser.querySelector("[data-selected-size]");
  const button = browser.querySelector("[data-delete] span");
  let last = null;
  const show = () => {
    const boxes = boxesNow();
    const chosen = boxes.filter((box) => box.checked);
    if (all) {
      all.hidden = boxes.length === 0;
      all.checked = chosen.length > 0 && chosen.length === boxes.length;
      all.indeterminate = chosen.length > 0 && chosen.length < boxes.length;
    }
    if (words) words.textContent = `${chosen.length.toLocaleString("en")} selected`;
    if (bytes) bytes.textContent = size(chosen.reduce((sum, box) => sum + Number(box.dataset.size), 0));
    if (button) button.textContent = `Delete ${files(chosen.length)}`;
  };
  browser.addEventListener("change", (event) => {
    if (event.target === all) for (const box of boxesNow()) box.checked = all.checked;
    show();
  });
  browser.addEventListener("click", (event) => {
    if (!event.target.matches?.(".pick .check")) return;
    const boxes = boxesNow();
    const at = boxes.indexOf(event.target);
    const from = boxes.indexOf(last);
    if (event.shiftKey && from >= 0) {
      for (let i = Math.min(from, at); i <= Math.max(from, at); i += 1) boxes[i].checked = event.target.checked;
    }
    last = event.target;
    show();
  });
  document.getElementById("bulk")?.addEventListener("reset", () => setTimeout(show));
  show();
}

const browser = document.querySelector("[data-browser]");
if (browser) selectRows(browser);
