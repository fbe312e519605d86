// Uploads with progress: drop zone, files or a folder, three at a time, a row a file. One request a file, so
// that each has its own progress, its own failure and its own retry.

import { files, size } from "./app.js";
import { walk } from "./folders.js";

const AT_ONCE = 3;
const ROWS = 200;

const root = document.querySelector("[data-upload]");
if (root) start(root);

function start(root) {
  const find = (name) => root.querySelector(`[data-${name}]`);
  const form = root.querySelector("form.drop");
  const target = document.querySelector("[data-target-form]");
  const list = find("list");
  const template = root.querySelector("template");
  const items = [];
  let running = 0;
  let next = 0;
  let shown = 0;
  let drawing = false;

  for (const plain of document.querySelectorAll("[data-plain]")) plain.hidden = true;
  find("live").hidden = false;
  find("drop-title").textContent = "Drop files or folders here";

  /** Where a file goes: fixed when it is chosen. */
  function place() {
    if (!target) {
      const url = new URL(form.action);
      return { path: url.pathname, prefix: url.searchParams.get("prefix") ?? "", overwrite: false };
    }
    const typed = target.elements.prefix.value;
    const prefix = typed === "" || typed.endsWith("/") ? typed : `${typed}/`;
    return { path: `/buckets/${encodeURIComponent(target.elements.bucket.value)}/uploads`, prefix, overwrite: target.elements.overwrite.value === "1" };
  }

  function address(item) {
    const overwrite = item.place.overwrite ? "&overwrite=1" : "";
    const prefix = encodeURIComponent(item.place.prefix + item.directory).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
    return `${item.place.path}?prefix=${prefix}${overwrite}&single=1`;
  }

  function add(chosen) {
    const where = place();
    for (const { file, directory } of chosen) {
      items.push({ file, directory, place: { ...where }, state: "waiting", sent: 0, speed: 0, row: null, request: null, why: "" });
    }
    find("queue").hidden = false;
    const here = document.querySelector("[data-upload-here]");
    if (here) here.open = true;
    rows();
    pump();
    say();
  }

  /** Rows are made for the first few only: thousands of files must not freeze the page. */
  function rows() {
    const batch = document.createDocumentFragment();
    for (; shown < items.length && list.childElementCount + batch.childElementCount < ROWS; shown += 1) {
      const item = items[shown];
      const row = template.content.firstElementChild.cloneNode(true);
      item.row = row;
      const part = (name) => row.querySelector(`[data-${name}]`);
      item.parts = { bytes: part("bytes"), progress: part("progress"), state: part("state"), speed: part("speed"), why: part("why"), open: part("open"), replace: part("replace"), keep: part("keep"), retry: part("retry"), cancel: part("cancel") };
      const name = item.directory + item.file.name;
      part("name").textContent = name;
      item.parts.progress.setAttribute("aria-label", `Progress of ${name}`);
      item.parts.cancel.setAttribute("aria-label", `Cancel ${name}`);
      item.parts.retry.setAttribute("aria-label", `Retry ${name}`);
      item.parts.replace.setAttribute("aria-label", `Replace ${name}`);
      item.parts.keep.setAttribute("aria-label", `Keep the old ${name}`);
      item.parts.open.setAttribute("aria-label", `Open ${name}`);
      item.parts.cancel.addEventListener("click", () => cancel(item));
      item.parts.retry.addEventListener("click", () => again(item));
      item.parts.keep.addEventListener("click", () => {
        Object.assign(item, { state: "cancelled", kept: true, why: "" });
        draw(item);
        say();
      });
      item.parts.replace.addEventListener("click", () => {
        item.place.overwrite = true;
        again(item);
      });
      batch.append(row);
      draw(item);
    }
    list.append(batch);
    const rest = items.length - shown;
    find("more").hidden = rest <= 0;
    find("more").textContent = `and ${files(rest)} more, which follow by themselves`;
  }

  function draw(item) {
    if (!item.row) return;
    const { parts, row, file } = item;
    row.className = `queue-row is-${item.state}${item.exists ? " is-taken" : ""}`;
    const part = file.size > 0 ? item.sent / file.size : item.state === "stored" ? 1 : 0;
    parts.progress.value = Math.round(part * 1000);
    parts.bytes.textContent = item.state === "stored" || item.state === "waiting" ? size(file.size) : `${size(item.sent)} of ${size(file.size)}`;
    parts.state.textContent = words(item, part);
    parts.speed.textContent = item.state === "sending" ? pace(item) : item.state === "stored" ? `in ${seconds((item.ended - item.began) / 1000)}, whole` : "";
    parts.why.hidden = item.why === "";
    parts.why.textContent = item.why;
    parts.cancel.hidden = !(item.state === "waiting" || item.state === "sending");
    parts.retry.hidden = !(item.state === "failed" || item.state === "cancelled") || item.exists === true;
    parts.keep.hidden = !(item.state === "failed" && item.exists === true);
    parts.replace.hidden = !(item.state === "failed" && item.exists === true);
    parts.open.hidden = !item.url;
    if (item.url) parts.open.href = item.url;
  }

  function words(item, part) {
    const share = `${Math.floor(part * 100)}\u202f%`;
    switch (item.state) {
      case "waiting": return "Waiting";
      case "sending": return part >= 1 ? "Being stored" : share;
      case "stored": return "Stored";
      case "cancelled": return item.kept ? "The old one is kept" : "Cancelled";
      default: return item.exists ? "Not stored: the name is taken" : `Failed at ${share}`;
    }
  }

  function pace(item) {
    if (item.speed < 1 || item.sent >= item.file.size) return "";
    return `${size(Math.round(item.speed))}/s, ${seconds((item.file.size - item.sent) / item.speed)} left`;
  }

  function seconds(value) {
    if (value < 1.5) return "1 second";
    if (value < 90) return `${Math.round(value)} seconds`;
    if (value < 5400) return `${Math.round(value / 60)} minutes`;
    return `${(value / 3600).toFixed(1)} hours`;
  }

  function pump() {
    while (running < AT_ONCE && next < items.length) {
      const item = items[next];
      next += 1;
      if (item.state === "waiting") send(item);
    }
  }

  function again(item) {
    Object.assign(item, { state: "waiting", sent: 0, speed: 0, why: "", exists: false });
    draw(item);
    next = Math.min(next, items.indexOf(item));
    pump();
    summary();
  }

  function cancel(item) {
    item.state = "cancelled";
    item.request?.abort();
    draw(item);
    summary();
  }

  function send(item) {
    running += 1;
    const request = new XMLHttpRequest();
    Object.assign(item, { state: "sending", request, began: performance.now(), mark: { at: performance.now(), sent: 0 } });
    const body = new FormData();
    body.append("file", item.file, item.file.name);
    request.open("POST", address(item));
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", (event) => {
      // The form around the file is a few hundred bytes.
      item.sent = Math.min(item.file.size, event.loaded);
      const now = performance.now();
      if (now - item.mark.at > 500) {
        const latest = ((item.sent - item.mark.sent) / (now - item.mark.at)) * 1000;
        item.speed = item.speed === 0 ? latest : item.speed * 0.7 + latest * 0.3;
        item.mark = { at: now, sent: item.sent };
      }
      redraw(item);
    });
    request.addEventListener("loadend", () => {
      running -= 1;
      item.request = null;
      item.ended = performance.now();
      if (item.state === "sending") settle(item, request);
      draw(item);
      say();
      pump();
    });
    request.send(body);
    redraw(item);
  }

  function settle(item, request) {
    let answer = null;
    try {
      answer = JSON.parse(request.responseText);
    } catch {
      answer = null;
    }
    const told = answer?.files?.[0];
    if (request.status === 201 && told?.status === "stored") {
      item.state = "stored";
      item.sent = item.file.size;
      item.url = `${item.place.path.replace(/uploads$/, "object")}?key=${encodeURIComponent(told.key)}`;
      return;
    }
    item.state = "failed";
    item.exists = request.status === 409 && !item.place.overwrite;
    const reference = request.status >= 500 && answer?.request_id ? ` Reference ${answer.request_id}` : "";
    if (request.status === 0) item.why = "The connection broke. Nothing of this file was stored; retry sends it again.";
    else if (request.status === 401) item.why = "You are signed out. Sign in in another tab, then retry.";
    else item.why = (told?.error ?? answer?.detail ?? "Larder did not accept this file.") + reference;
  }

  /** At most one drawing a frame, however many events come. */
  const dirty = new Set();
  function redraw(item) {
    dirty.add(item);
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      for (const one of dirty) draw(one);
      dirty.clear();
      summary();
    });
  }

  function tally() {
    const count = { waiting: 0, sending: 0, stored: 0, failed: 0, cancelled: 0, sent: 0, total: 0 };
    for (const item of items) {
      count[item.state] += 1;
      count.sent += item.state === "stored" ? item.file.size : item.sent;
      count.total += item.file.size;
    }
    return count;
  }

  function summary() {
    const count = tally();
    const parts = [["stored", "stored"], ["sending", "uploading"], ["waiting", "waiting"], ["failed", "failed"], ["cancelled", "cancelled"]];
    const said = parts.filter(([name]) => count[name] > 0).map(([name, word]) => `${count[name].toLocaleString("en")} ${word}`);
    find("count").textContent = files(items.length);
    find("sums").textContent = `${said.join(", ")} · ${size(count.sent)} of ${size(count.total)}`;
    find("clear").hidden = count.stored === 0;
    find("cancel-all").hidden = count.waiting + count.sending === 0;
    find("retry-all").hidden = !items.some((item) => item.state === "failed" && !item.exists);
    return { count, said };
  }

  /** For those who hear the page: only when a file ends, not with every byte. */
  let saying = 0;
  function say() {
    const { said } = summary();
    clearTimeout(saying);
    saying = setTimeout(() => {
      find("live-text").textContent = said.join(", ");
    }, 600);
  }

  find("clear").addEventListener("click", () => {
    for (let at = items.length - 1; at >= 0; at -= 1) {
      if (items[at].state !== "stored") continue;
      items[at].row?.remove();
      items.splice(at, 1);
      if (at < next) next -= 1;
      if (at < shown) shown -= 1;
    }
    if (items.length === 0) find("queue").hidden = true;
    rows();
    say();
  });
  find("cancel-all").addEventListener("click", () => {
    for (const item of items) if (item.state === "waiting" || item.state === "sending") cancel(item);
  });
  find("retry-all").addEventListener("click", () => {
    for (const item of items.filter((one) => one.state === "failed" && !one.exists)) {
      Object.assign(item, { state: "waiting", sent: 0, speed: 0, why: "" });
      draw(item);
    }
    next = 0;
    pump();
    summary();
  });

  const picker = (folder) => {
    const input = document.createElement("input");
    input.type = "file";
    input.multiple = true;
    if (folder) input.webkitdirectory = true;
    input.addEventListener("change", () => {
      add([...input.files].map((file) => ({ file, directory: file.webkitRelativePath.slice(0, -file.name.length) })));
    });
    input.click();
  };
  find("choose").addEventListener("click", () => picker(false));
  find("choose-folder").addEventListener("click", () => picker(true));
  // Browsers that are driven, and people who know it, may still use the plain field.
  root.querySelector("#upload-files").addEventListener("change", (event) => {
    add([...event.target.files].map((file) => ({ file, directory: "" })));
    event.target.value = "";
  });

  let depth = 0;
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (!carries(event)) return;
    depth += 1;
    document.body.classList.add("is-dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!carries(event)) return;
    depth = Math.max(0, depth - 1);
    if (depth === 0) document.body.classList.remove("is-dropping");
  });
  document.addEventListener("dragover", (event) => {
    if (carries(event)) event.preventDefault();
  });
  document.addEventListener("drop", async (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    depth = 0;
    document.body.classList.remove("is-dropping");
    // Entries must be taken before the first await: the list is emptied after it.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const loose = [...event.dataTransfer.files];
    const found = entries.length > 0 ? await walk(entries) : loose.map((file) => ({ file, directory: "" }));
    if (found.length > 0) add(found);
  });

  window.addEventListener("beforeunload", (event) => {
    const { waiting, sending } = tally();
    if (waiting + sending > 0) event.preventDefault();
  });

  if (target) {
    const told = root.querySelector("[data-target]");
    target.addEventListener("submit", (event) => event.preventDefault());
    target.addEventListener("input", () => {
      const where = place();
      told.textContent = `${target.elements.bucket.value}/${where.prefix}`;
    });
  }
}
