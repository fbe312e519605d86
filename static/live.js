// Live updates: replaces each card that has changed on the server. The focus is preserved, the page is not updated while
// the user presses a button or selects text, and screen readers announce changes of state.

const container = document.querySelector("[data-live]");
const CARDS = ":is(section, div, p, span)[data-key]";

function update(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").body;
  // Cards of services that are down are above the grid.
  const name = (part) => `${part.dataset.key} ${part.closest(".health-grid") ? "in" : "above"}`;
  const keys = (root) => [...root.querySelectorAll(CARDS)].map(name).join();
  const focusable = (root) => [...(root?.querySelectorAll("a, button") ?? [])];
  const card = document.activeElement?.closest?.(`[data-live] ${CARDS}`);
  const at = focusable(card).indexOf(document.activeElement);
  const selection = getSelection();
  if (container.querySelector(":active") || (!selection.isCollapsed && container.contains(selection.anchorNode))) return;
  const previousStatus = container.querySelector("[data-says]")?.dataset.says;
  if (keys(fresh) !== keys(container)) {
    container.replaceChildren(...fresh.childNodes);
  } else {
    for (const part of fresh.querySelectorAll(CARDS)) {
      const old = container.querySelector(`${CARDS}[data-key="${part.dataset.key}"]`);
      if (old && old.outerHTML !== part.outerHTML) old.replaceWith(part);
    }
  }
  if (at >= 0 && !card.isConnected) focusable(container.querySelector(`${CARDS}[data-key="${card.dataset.key}"]`))[at]?.focus();
  const status = container.querySelector("[data-says]")?.dataset.says;
  if (status !== previousStatus) document.querySelector("[data-status]").textContent = status;
  const down = Number(container.querySelector("[data-down]")?.dataset.down ?? 0);
  for (const mark of document.querySelectorAll("[data-down-mark]")) {
    mark.hidden = down === 0;
    (mark.querySelector("span") ?? mark).textContent = `${down} down`;
  }
}

let source = null;
let reconnectTimer = null;
let stallTimer = null;
let broken = false;

function stallAfter(milliseconds) {
  clearTimeout(stallTimer);
  stallTimer = setTimeout(() => showStalled(true), milliseconds);
}

/** The server sends an event at least every ten seconds, so a missing event means a broken connection. */
function onActivity() {
  showStalled(false);
  broken = false;
  stallAfter(25_000);
}

function showStalled(stalled) {
  const note = container.querySelector("[data-stalled]");
  if (!note || note.hidden === !stalled) return;
  note.hidden = !stalled;
  note.querySelector("[data-stalled-at]").textContent = new Date().toISOString().slice(11, 19);
}

function connect() {
  clearTimeout(reconnectTimer);
  if (document.hidden) {
    source?.close();
    source = null;
    clearTimeout(stallTimer);
  } else if (!source) {
    source = new EventSource(container.dataset.live);
    stallAfter(25_000);
    source.addEventListener("open", onActivity);
    source.addEventListener("beat", onActivity);
    source.addEventListener("message", (event) => {
      onActivity();
      update(event.data);
    });
    source.addEventListener("error", () => {
      // The server ends each stream after a while to check the session again; the browser reconnects after two seconds.
      if (!broken) {
        broken = true;
        stallAfter(6000);
      }
      // After a rejected request the browser does not reconnect, so this script does.
      if (source?.readyState !== EventSource.CLOSED) return;
      source = null;
      showStalled(true);
      reconnectTimer = setTimeout(connect, 5000 + Math.random() * 5000);
    });
  }
}

if (container && "EventSource" in window) {
  document.addEventListener("visibilitychange", connect);
  connect();
}
