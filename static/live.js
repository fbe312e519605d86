// Keeps a part of the page as the server has it now: each card that has changed is exchanged, unless somebody is in it.

const place = document.querySelector("[data-live]");

/** Exchanges what differs; what has the focus keeps it. */
function renew(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").body;
  const keys = (root) => [...root.querySelectorAll("section[data-key], div[data-key], p[data-key]")].map((part) => part.dataset.key).join();
  const reachable = (root) => [...(root?.querySelectorAll("a, button") ?? [])];
  const card = document.activeElement?.closest?.("[data-live] :is(section, div, p)[data-key]");
  const at = reachable(card).indexOf(document.activeElement);
  if (keys(fresh) !== keys(place)) {
    place.replaceChildren(...fresh.childNodes);
  } else {
    for (const part of fresh.querySelectorAll("section[data-key], div[data-key], p[data-key]")) {
      const old = place.querySelector(`:is(section, div, p)[data-key="${part.dataset.key}"]`);
      if (old && old.outerHTML !== part.outerHTML) old.replaceWith(part);
    }
  }
  if (at >= 0 && !card.isConnected) reachable(place.querySelector(`:is(section, div, p)[data-key="${card.dataset.key}"]`))[at]?.focus();
  const down = Number(place.querySelector("[data-down]")?.dataset.down ?? 0);
  for (const mark of document.querySelectorAll(".nav-down")) {
    mark.hidden = down === 0;
    mark.textContent = `${down} down`;
  }
}

let source = null;

function watch() {
  if (document.hidden) {
    source?.close();
    source = null;
  } else if (!source) {
    source = new EventSource(place.dataset.live);
    source.addEventListener("message", (event) => renew(event.data));
    // Refused, as after signing out: the browser does not ask again by itself, and neither do we.
    source.addEventListener("error", () => {
      if (source?.readyState === EventSource.CLOSED) source = null;
    });
  }
}

if (place && "EventSource" in window) {
  document.addEventListener("visibilitychange", watch);
  watch();
}
