// The upload queue: drop zone, file and folder selection, parallel uploads with progress, pause and resume.

import { files, size } from "./app.js";
import { listFiles } from "./folders.js";
import { refresh } from "./listing.js";
import { Rows } from "./rows.js";
import { discard, retryNow, send } from "./transfer.js";

const MAX_PARALLEL = 3;

const root = document.querySelector("[data-upload]");
if (root) start(root);

function start(root) {
  const find = (name) => root.querySelector(`[data-${name}]`);
  const form = root.querySelector("form.drop");
  const target = document.querySelector("[data-target-form]");
  const items = [];
  const count = { waiting: 0, sending: 0, paused: 0, stored: 0, failed: 0, cancelled: 0 };
  let running = 0;
  let next = 0;
  const rows = new Rows(find("list"), root.querySelector("template"), {
    pause: (item) => pause(item),
    resume: enqueue,
    now: retryNow,
    retry: enqueue,
    cancel,
    keep: (item) => {
      Object.assign(item, { kept: true, why: "", exists: false });
      setState(item, "cancelled");
      discard(item);
    },
    replace: (item) => {
      item.target.overwrite = true;
      enqueue(item);
    },
    restart: (item) => {
      item.restart = true;
      enqueue(item);
    },
  });

  for (const plain of document.querySelectorAll("[data-plain]")) plain.hidden = true;
  for (const live of document.querySelectorAll("[data-live]")) live.hidden = false;
  find("drop-title").textContent = "Drop files or folders here";

  /** The destination of a file, fixed when the file is added. */
  function currentDestination() {
    if (!target) {
      const url = new URL(form.action);
      return { path: url.pathname, prefix: url.searchParams.get("prefix") ?? "", overwrite: false };
    }
    const typed = target.elements.prefix.value;
    const prefix = typed === "" || typed.endsWith("/") ? typed : `${typed}/`;
    return { path: `/buckets/${encodeURIComponent(target.elements.bucket.value)}/uploads`, prefix, overwrite: target.elements.overwrite.value === "1" };
  }

  function add(chosen) {
    const destination = currentDestination();
    for (const { file, directory, why } of chosen) {
      const state = why ? "failed" : "waiting";
      items.push({ file, directory, target: { ...destination }, state, sent: 0, speed: 0, why: why ?? "", unusable: Boolean(why) });
      count[state] += 1;
    }
    rows.items = items;
    find("queue").hidden = false;
    const disclosure = document.querySelector("[data-upload-here]");
    if (disclosure) disclosure.open = true;
    rows.arrange();
    startNext();
    announce();
  }

  function setState(item, state) {
    count[item.state] -= 1;
    count[state] += 1;
    item.state = state;
    rows.changed(item);
    announce();
  }

  function startNext() {
    while (running < MAX_PARALLEL && next < items.length) {
      const item = items[next];
      next += 1;
      if (item.state === "waiting") run(item);
    }
  }

  async function run(item) {
    running += 1;
    setState(item, "sending");
    Object.assign(item, { started: performance.now(), speed: 0, from: 0, mark: { at: performance.now(), sent: item.sent } });
    const ended = await send(item, () => {
      updateSpeed(item);
      rows.changed(item);
      summary();
    });
    running -= 1;
    item.ended = performance.now();
    // A stored file stays stored, even if it was paused or cancelled at the last moment.
    if (ended === "stored" || (ended === "failed" && item.state === "sending")) setState(item, ended);
    if (ended === "stored") refresh();
    rows.changed(item);
    startNext();
  }

  function updateSpeed(item) {
    const now = performance.now();
    if (now - item.mark.at <= 500) return;
    // Exclude bytes that were uploaded in an earlier attempt.
    const from = Math.max(item.mark.sent, item.from);
    const latest = (Math.max(0, item.sent - from) / (now - item.mark.at)) * 1000;
    item.speed = item.speed === 0 ? latest : item.speed * 0.7 + latest * 0.3;
    item.mark = { at: now, sent: item.sent };
  }

  function enqueue(item) {
    Object.assign(item, { why: "", exists: false, changed: false, kept: false });
    if (!item.upload) item.sent = 0;
    setState(item, "waiting");
    next = Math.min(next, items.indexOf(item));
    startNext();
  }

  function pause(item) {
    if (item.state !== "sending" && item.state !== "waiting") return;
    setState(item, "paused");
    item.stop?.abort();
    if (!item.upload) item.sent = 0;
  }

  function cancel(item) {
    setState(item, "cancelled");
    item.stop?.abort();
    discard(item);
    item.sent = 0;
    item.why = "";
  }

  function summary() {
    let sent = 0;
    let total = 0;
    for (const item of items) {
      sent += item.state === "stored" ? item.file.size : item.sent;
      total += item.file.size;
    }
    const labels = [["stored", "stored"], ["sending", "uploading"], ["waiting", "waiting"], ["paused", "paused"], ["failed", "failed"], ["cancelled", "cancelled"]];
    const parts = labels.filter(([name]) => count[name] > 0).map(([name, word]) => `${count[name].toLocaleString("en")} ${word}`);
    find("count").textContent = files(items.length);
    find("sums").textContent = `${parts.join(", ")} · ${size(sent)} of ${size(total)}`;
    find("clear").hidden = count.stored === 0;
    find("cancel-all").hidden = count.waiting + count.sending + count.paused === 0;
    find("pause-all").hidden = count.waiting + count.sending === 0;
    find("resume-all").hidden = count.paused === 0 || count.waiting + count.sending > 0;
    find("retry-all").hidden = !items.some(canRetry);
    return parts;
  }

  const canRetry = (item) => item.state === "failed" && !item.exists && !item.changed && !item.unusable;

  /** Announces results to screen readers when a file ends, not with every progress event. */
  let announceTimer = 0;
  let drawing = false;
  function announce() {
    if (!drawing) {
      drawing = true;
      requestAnimationFrame(() => {
        drawing = false;
        summary();
      });
    }
    clearTimeout(announceTimer);
    announceTimer = setTimeout(() => {
      find("live-text").textContent = summary().join(", ");
    }, 600);
  }

  find("clear").addEventListener("click", () => {
    for (let at = items.length - 1; at >= 0; at -= 1) {
      if (items[at].state !== "stored") continue;
      items.splice(at, 1);
      count.stored -= 1;
      if (at < next) next -= 1;
    }
    if (items.length === 0) find("queue").hidden = true;
    rows.arrange();
    announce();
  });
  find("cancel-all").addEventListener("click", () => {
    for (const item of items) if (["waiting", "sending", "paused"].includes(item.state)) cancel(item);
  });
  find("pause-all").addEventListener("click", () => items.forEach(pause));
  find("resume-all").addEventListener("click", () => items.filter((item) => item.state === "paused").forEach(enqueue));
  find("retry-all").addEventListener("click", () => items.filter(canRetry).forEach(enqueue));

  const picker = (folder) => {
    const input = document.createElement("input");
    input.type = "file";
    input.multiple = true;
    if (folder) input.webkitdirectory = true;
    input.addEventListener("change", () => {
      add([...input.files].map((file) => ({ file, directory: file.webkitRelativePath.slice(0, -file.name.length) })));
      input.value = "";
    });
    return input;
  };
  // Referenced as long as the page is open: a browser may collect an input whose dialog is open, and forget the choice.
  const inputs = { files: picker(false), folder: picker(true) };
  find("choose").addEventListener("click", () => inputs.files.click());
  find("choose-folder").addEventListener("click", () => inputs.folder.click());
  // Automated browsers may still use the plain file input.
  root.querySelector("#upload-files").addEventListener("change", (event) => {
    add([...event.target.files].map((file) => ({ file, directory: "" })));
    event.target.value = "";
  });

  let depth = 0;
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    document.body.classList.add("is-dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!hasFiles(event)) return;
    depth = Math.max(0, depth - 1);
    if (depth === 0) document.body.classList.remove("is-dropping");
  });
  document.addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  document.addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    document.body.classList.remove("is-dropping");
    // Entries must be read before the first await, because the browser then clears the list.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const loose = [...event.dataTransfer.files];
    const found = entries.length > 0 ? await listFiles(entries) : loose.map((file) => ({ file, directory: "" }));
    if (found.length > 0) add(found);
  });

  window.addEventListener("beforeunload", (event) => {
    if (count.waiting + count.sending > 0) event.preventDefault();
  });

  if (target) {
    const targetText = root.querySelector("[data-target]");
    target.addEventListener("submit", (event) => event.preventDefault());
    target.addEventListener("input", () => {
      const destination = currentDestination();
      targetText.textContent = `${target.elements.bucket.value}/${destination.prefix}`;
    });
  }
}
