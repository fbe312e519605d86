// Keeps a part of the page as the server has it now: each card that has changed is exchanged. What has the focus keeps it,
// what is being pressed or is selected stays until it is let go, and a change of state is told to screen readers.

const place = document.querySelector("[data-live]");
const CARDS = ":is(section, div, p, span)[data-key]";

function renew(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").body;
  // A card that is down stands above the grid.
  const name = (part) => `${part.dataset.key} ${part.closest(".health-grid") ? "in" : "above"}`;
  const keys = (root) => [...root.querySelectorAll(CARDS)].map(name).join();
  const reachable = (root) => [...(root?.querySelectorAll("a, button") ?? [])];
  const card = document.activeElement?.closest?.(`[data-live] ${CARDS}`);
  const at = reachable(card).indexOf(document.activeElement);
  const chosen = getSelection();
  if (place.querySelector(":active") || (!chosen.isCollapsed && place.contains(chosen.anchorNode))) return;
  const said = place.querySelector("[data-says]")?.dataset.says;
  if (keys(fresh) !== keys(place)) {
    place.replaceChildren(...fresh.childNodes);
  } else {
    for (const part of fresh.querySelectorAll(CARDS)) {
      const old = place.querySelector(`${CARDS}[data-key="${part.dataset.key}"]`);
      if (old && old.outerHTML !== part.outerHTML) old.replaceWith(part);
    }
  }
  if (at >= 0 && !card.isConnected) reachable(place.querySelector(`${CARDS}[data-key="${card.dataset.key}"]`))[at]?.focus();
  const says = place.querySelector("[data-says]")?.dataset.says;
  if (says !== said) document.querySelector("[data-status]").textContent = says;
  const down = Number(place.querySelector("[data-down]")?.dataset.down ?? 0);
  for (const mark of document.querySelectorAll("[data-down-mark]")) {
    mark.hidden = down === 0;
    (mark.querySelector("span") ?? mark).textContent = `${down} down`;
  }
}

let source = null;
let again = null;
let silence = null;
let broken = false;

function patience(milliseconds) {
  clearTimeout(silence);
  silence = setTimeout(() => stall(true), milliseconds);
}

/** It says something every ten seconds; the way to it may be cut without a word. */
function hear() {
  stall(false);
  broken = false;
  patience(25_000);
}

function stall(stalled) {
  const note = place.querySelector("[data-stalled]");
  if (!note || note.hidden === !stalled) return;
  note.hidden = !stalled;
  note.querySelector("[data-stalled-at]").textContent = new Date().toISOString().slice(11, 19);
}

function watch() {
  clearTimeout(again);
  if (document.hidden) {
    source?.close();
    source = null;
    clearTimeout(silence);
  } else if (!source) {
    source = new EventSource(place.dataset.live);
    patience(25_000);
    source.addEventListener("open", hear);
    source.addEventListener("beat", hear);
    source.addEventListener("message", (event) => {
      hear();
      renew(event.data);
    });
    source.addEventListener("error", () => {
      // The end of a stream is its server's way to ask who is there, and the browser comes back in two seconds.
      if (!broken) {
        broken = true;
        patience(6000);
      }
      // Refused, the browser gives up, and we do not.
      if (source?.readyState !== EventSource.CLOSED) return;
      source = null;
      stall(true);
      again = setTimeout(watch, 5000 + Math.random() * 5000);
    });
  }
}

if (place && "EventSource" in window) {
  document.addEventListener("visibilitychange", watch);
  watch();
}
