// The rows of an upload page. Only those near the window are in the document: ten thousand files must not freeze it.

import { size } from "./app.js";

/** More files than this are shown in rows of one height, so that it is known which of them are near. */
const MANY = 100;
/** Rows beyond the edges of the window. */
const SPARE = 8;

export class Rows {
  /** `actions`: what the buttons of a row do, by their names. */
  constructor(list, template, actions) {
    Object.assign(this, { list, template, actions, items: [], shown: new Map(), height: 0, waits: false });
    this.dirty = new Set();
    const again = () => this.arrange();
    document.addEventListener("scroll", again, { passive: true });
    window.addEventListener("resize", () => {
      this.height = 0;
      again();
    });
  }

  /** At most one drawing a frame, however many events come. */
  arrange() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      this.show();
      for (const item of this.dirty) if (this.shown.has(item)) this.draw(item);
      this.dirty.clear();
    });
  }

  changed(item) {
    this.dirty.add(item);
    this.arrange();
  }

  /** Puts the rows that are near into the document, and takes the others out. */
  show() {
    const { list, items } = this;
    const many = items.length > MANY;
    list.classList.toggle("is-many", many);
    const [from, to] = many ? this.near() : [0, items.length];
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

  near() {
    if (this.height === 0 && this.items.length > 0) {
      const row = this.row(this.items[0], 0);
      if (!row.parentNode) this.list.append(row);
      this.height = row.getBoundingClientRect().height || 64;
    }
    const top = this.list.getBoundingClientRect().top;
    const first = Math.floor(-top / this.height) - SPARE;
    const last = Math.ceil((window.innerHeight - top) / this.height) + SPARE;
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
    text("state", words(item, share));
    text("speed", beside(item));
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
    show("cancel", state !== "stored" && state !== "cancelled" && !(failed && item.exists));
    show("retry", (failed && !item.exists && !item.changed) || (state === "cancelled" && !item.kept));
    show("anew", failed && item.changed === true);
    show("keep", failed && item.exists === true);
    show("replace", failed && item.exists === true);
    show("open", Boolean(item.url));
    if (item.url) part("open").href = item.url;
  }
}

function words(item, share) {
  const percent = `${Math.floor(share * 100)}\u202f%`;
  switch (item.state) {
    case "waiting":
      return "Waiting";
    case "sending":
      if (item.waits) return "Waiting for the connection";
      return share >= 1 ? "Being stored" : percent;
    case "paused":
      return `Paused at ${percent}`;
    case "stored":
      return "Stored";
    case "cancelled":
      return item.kept ? "The old one is kept" : "Cancelled";
    default:
      return item.exists ? "Not stored: the name is taken" : item.changed ? "Not stored: another file was begun" : `Failed at ${percent}`;
  }
}

/** What stands at the end of the second line. */
function beside(item) {
  if (item.state === "stored") {
    const checked = item.matches === true ? ", checksum matches" : item.matches === false ? ", and changed here since" : "";
    return `in ${seconds((item.ended - item.began) / 1000)}${checked}, SHA-256\u00a0${item.sha256.slice(0, 8)}…`;
  }
  if (item.state === "paused" || item.state === "failed") {
    if (!item.upload || !item.keptUntil) return "";
    if (item.sent === 0) return "nothing of it is kept yet";
    const day = new Date(item.keptUntil).toLocaleDateString("en-GB", { day: "numeric", month: "long" });
    return `${size(item.sent)} kept until ${day}`;
  }
  if (item.state !== "sending" || item.waits) return "";
  if (item.speed < 1 || item.sent >= item.file.size) return item.from > 0 ? `going on from ${size(item.from)}` : "";
  return `${size(Math.round(item.speed))}/s, ${seconds((item.file.size - item.sent) / item.speed)} left`;
}

function seconds(value) {
  if (value < 1.5) return "1 second";
  if (value < 90) return `${Math.round(value)} seconds`;
  if (value < 5400) return `${Math.round(value / 60)} minutes`;
  return `${(value / 3600).toFixed(1)} hours`;
}
