// The rows of the upload queue. Only rows near the viewport are in the document, so that 10,000 files do not slow it down.

import { size } from "./app.js";

/** With more files, all rows have the same height, so that the visible range can be computed. */
const VIRTUAL_ABOVE = 100;
/** Extra rows above and below the viewport. */
const OVERSCAN = 8;

export class Rows {
  /** `actions`: the handlers of the buttons of a row, by name. */
  constructor(list, template, actions) {
    Object.assign(this, { list, template, actions, items: [], shown: new Map(), height: 0, scheduled: false });
    this.dirty = new Set();
    const arrange = () => this.arrange();
    document.addEventListener("scroll", arrange, { passive: true });
    window.addEventListener("resize", () => {
      this.height = 0;
      arrange();
    });
  }

  /** Schedules at most one update per frame. */
  arrange() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.show();
      for (const item of this.dirty) if (this.shown.has(item)) this.draw(item);
      this.dirty.clear();
    });
  }

  changed(item) {
    this.dirty.add(item);
    this.arrange();
  }

  /** Adds the rows near the viewport to the document and removes the others. */
  show() {
    const { list, items } = this;
    const many = items.length > VIRTUAL_ABOVE;
    list.classList.toggle("is-many", many);
    const [from, to] = many ? this.visibleRange() : [0, items.length];
    const wanted = new Set(items.slice(from, to));
    for (const [item, row] of this.shown) {
      if (wanted.has(item) || row.contains(document.activeElement)) continue;
      row.remove();
      this.shown.delete(item);
    }
    let before = null;
    for (let at = to - 1; at >= from; at -= 1) {
      const row = this.row(items[at], at);
      if (row.nextSibling !== before || row.parentNode !== list) list.insertBefore(row, before);
      before = row;
    }
    list.style.paddingTop = many ? `${from * this.height}px` : "";
    list.style.paddingBottom = many ? `${(items.length - to) * this.height}px` : "";
  }

  visibleRange() {
    if (this.height === 0 && this.items.length > 0) {
      const row = this.row(this.items[0], 0);
      if (!row.parentNode) this.list.append(row);
      this.height = row.getBoundingClientRect().height || 64;
    }
    const top = this.list.getBoundingClientRect().top;
    const first = Math.floor(-top / this.height) - OVERSCAN;
    const last = Math.ceil((window.innerHeight - top) / this.height) + OVERSCAN;
    const within = (at) => Math.max(0, Math.min(this.items.length, at));
    return [within(first), within(last)];
  }

  row(item, at) {
    let row = this.shown.get(item);
    if (!row) {
      row = this.template.content.firstElementChild.cloneNode(true);
      const part = (name) => row.querySelector(`[data-${name}]`);
      const name = item.directory + item.file.name;
      part("name").textContent = name;
      part("name").title = name;
      part("progress").setAttribute("aria-label", `Progress of ${name}`);
      for (const [action, run] of Object.entries(this.actions)) {
        part(action).setAttribute("aria-label", `${part(action).textContent.trim() || "Cancel"} ${name}`);
        part(action).addEventListener("click", () => run(item));
      }
      part("open").setAttribute("aria-label", `Open ${name}`);
      this.shown.set(item, row);
      this.draw(item);
    }
    row.setAttribute("aria-setsize", String(this.items.length));
    row.setAttribute("aria-posinset", String(at + 1));
    return row;
  }

  draw(item) {
    const row = this.shown.get(item);
    const part = (name) => row.querySelector(`[data-${name}]`);
    const text = (name, value) => {
      if (part(name).textContent !== value) part(name).textContent = value;
    };
    const { file, state } = item;
    row.className = `queue-row is-${state}${item.exists ? " is-taken" : ""}`;
    const share = file.size > 0 ? item.sent / file.size : state === "stored" ? 1 : 0;
    part("progress").value = Math.round(share * 1000);
    text("bytes", state === "stored" || state === "waiting" ? size(file.size) : `${size(item.sent)} of ${size(file.size)}`);
    text("state", stateText(item, share));
    text("speed", detailText(item));
    part("speed").title = item.sha256 ? `SHA-256 ${item.sha256}` : "";
    text("why", item.why);
    part("why").hidden = item.why === "";
    part("why").title = item.why;
    const show = (name, shown) => {
      part(name).hidden = !shown;
    };
    const failed = state === "failed";
    show("pause", state === "sending" || state === "waiting");
    show("resume", state === "paused");
    show("now", state === "sending" && item.waits === true);
    show("cancel", state !== "stored" && state !== "cancelled" && !(failed && (item.exists || item.unusable)));
    show("retry", ((failed && !item.exists && !item.changed) || (state === "cancelled" && !item.kept)) && !item.unusable);
    show("restart", failed && item.changed === true);
    show("keep", failed && item.exists === true);
    show("replace", failed && item.exists === true);
    show("open", Boolean(item.url));
    if (item.url) part("open").href = item.url;
  }
}

function stateText(item, share) {
  const percent = `${Math.floor(share * 100)}\u202f%`;
  switch (item.state) {
    case "waiting":
      return "Waiting";
    case "sending":
      if (item.waits) return "Waiting for the connection";
      return share >= 1 ? "Storing" : percent;
    case "paused":
      return `Paused at ${percent}`;
    case "stored":
      return "Stored";
    case "cancelled":
      return item.kept ? "Existing file kept" : "Cancelled";
    default:
      if (item.unusable) return "Not uploaded";
      return item.exists ? "Not stored: the file already exists" : item.changed ? "Not stored: a different file is being uploaded to this name" : `Failed at ${percent}`;
  }
}

/** The text at the end of the second line. */
function detailText(item) {
  if (item.state === "stored") {
    const checked = item.matches === true ? ", checksum matches" : item.matches === false ? ", changed locally since" : "";
    return `in ${seconds((item.ended - item.started) / 1000)}${checked}, SHA-256\u00a0${item.sha256.slice(0, 8)}…`;
  }
  if (item.state === "paused" || item.state === "failed") {
    if (!item.upload || !item.keptUntil) return "";
    if (item.sent === 0) return "nothing uploaded yet";
    const day = new Date(item.keptUntil).toLocaleDateString("en-GB", { day: "numeric", month: "long" });
    return `${size(item.sent)} kept until ${day}`;
  }
  if (item.state !== "sending" || item.waits) return "";
  if (item.speed < 1 || item.sent >= item.file.size) return item.from > 0 ? `resuming from ${size(item.from)}` : "";
  return `${size(Math.round(item.speed))}/s, ${seconds((item.file.size - item.sent) / item.speed)} left`;
}

function seconds(value) {
  if (value < 1.5) return "1 second";
  if (value < 90) return `${Math.round(value)} seconds`;
  if (value < 5400) return `${Math.round(value / 60)} minutes`;
  return `${(value / 3600).toFixed(1)} hours`;
}
