// Uploads one file: a small file as a form, a large file in parts, which can be resumed after a lost connection, a page
// reload or a server restart. The progress is stored on the item; `changed` is called when it changes.

import { base64, fingerprint, hex, isFast, sha256 } from "./digest.js";

/** Files up to this size are sent as a form. */
const SMALL = 8 << 20;
/** Parts of one file sent in parallel. */
const MAX_PARALLEL = 2;
const MAX_ATTEMPTS = 7;

class Stopped extends Error {}

/** The file differs from the one whose parts were uploaded. */
class Changed extends Error {}

/** An error response; `message` is its detail. */
class Rejected extends Error {
  constructor(response, detail) {
    const reference = response.status >= 500 && response.json?.request_id ? ` Reference ${response.json.request_id}` : "";
    super((detail ?? response.json?.detail ?? "Larder rejected this file.") + reference);
    this.response = response;
  }
}

/** Uploads the item. Resolves with "stored", "failed", or null if it was paused or cancelled; never rejects. */
export async function send(item, changed) {
  const stop = new AbortController();
  item.stop = stop;
  try {
    const result = item.file.size > SMALL ? await sendParts(item, changed, stop.signal) : await sendForm(item, changed, stop.signal);
    item.sent = item.file.size;
    item.sha256 = result.sha256;
    item.url = `${item.target.path.replace(/uploads$/, "object")}?key=${encodeURIComponent(result.key)}`;
    return "stored";
  } catch (error) {
    // Incomplete parts are sent again.
    if (item.upload) item.sent = item.arrived;
    if (error instanceof Stopped) return null;
    explain(item, error);
    return "failed";
  } finally {
    // Abort the other parts of a failed file.
    stop.abort();
    if (item.stop === stop) {
      item.stop = null;
      item.waits = false;
    }
  }
}

/** Aborts the unfinished upload on the server. */
export function discard(item) {
  if (!item.upload) return;
  request("POST", `${item.target.path}/${item.upload}/deletion`, { body: new URLSearchParams() }).catch(() => {});
  item.upload = null;
}

function explain(item, error) {
  const status = error instanceof Rejected ? error.response.status : -1;
  item.changed = error instanceof Changed || error.response?.json?.changed === true;
  item.exists = status === 409 && !item.target.overwrite && error.exists === true;
  if (status === 401) item.why = "You are signed out. Sign in in another tab, then retry.";
  else if (status === 0) item.why = item.upload ? "Connection lost. Retry to send the missing parts." : "Connection lost. The file was not stored; retry to send it again.";
  else if (error instanceof Rejected || error instanceof Changed) item.why = error.message;
  else item.why = "The browser can no longer read this file: it was changed, moved or deleted.";
}

/** Sends one request. Resolves with the response, or with status 0 without one; rejects if stopped. */
function request(method, url, { body = null, headers = {}, signal = null, progress = null } = {}) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    const stop = () => xhr.abort();
    if (signal?.aborted) return reject(new Stopped());
    signal?.addEventListener("abort", stop);
    xhr.open(method, url);
    xhr.setRequestHeader("Accept", "application/json");
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value);
    if (progress) xhr.upload.addEventListener("progress", (event) => progress(event.loaded));
    xhr.addEventListener("loadend", () => {
      signal?.removeEventListener("abort", stop);
      if (signal?.aborted) return reject(new Stopped());
      let json = null;
      try {
        json = JSON.parse(xhr.responseText);
      } catch {
        json = null;
      }
      resolve({ status: xhr.status, json, wait: Number(xhr.getResponseHeader("Retry-After")) || 0 });
    });
    xhr.send(body);
  });
}

/** The server is certain not to have stored anything. */
const isBusy = (status) => status === 429 || status === 503;
const isTransient = (status) => status === 0 || status === 408 || status === 429 || status === 502 || status === 503 || status === 504;

/** Retries with exponential backoff while the server is unavailable. */
async function withRetry(item, changed, signal, once, shouldRetry = isTransient) {
  for (let attempt = 1; ; attempt += 1) {
    const response = await once();
    if (!shouldRetry(response.status) || attempt === MAX_ATTEMPTS) return response;
    item.waits = true;
    changed();
    const interrupted = await pause(Math.max(response.wait, Math.min(2 ** (attempt - 1), 20)) * 1000, signal);
    if (interrupted) attempt = 0;
    item.waits = false;
    changed();
  }
}

/** Functions that end the current waits. */
const waking = new Set();

/** Ends all waits, so that every waiting request is retried now. */
export function retryNow() {
  for (const wake of [...waking]) wake();
}
window.addEventListener("online", retryNow);

/** Waits. Resolves with true if `retryNow` ended the wait. */
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new Stopped());
    const end = () => {
      clearTimeout(timer);
      waking.delete(wake);
      signal.removeEventListener("abort", stop);
    };
    const stop = () => {
      end();
      reject(new Stopped());
    };
    const wake = () => {
      end();
      resolve(true);
    };
    const timer = setTimeout(() => {
      end();
      resolve(false);
    }, milliseconds);
    waking.add(wake);
    signal.addEventListener("abort", stop);
  });
}

/** Encodes all reserved characters of RFC 3986, including those that encodeURIComponent leaves unchanged. */
const encoded = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

async function sendForm(item, changed, signal) {
  const overwrite = item.target.overwrite ? "&overwrite=1" : "";
  const body = new FormData();
  body.append("file", item.file, item.file.name);
  const url = `${item.target.path}?prefix=${encoded(item.target.prefix + item.directory)}${overwrite}&single=1`;
  // The multipart overhead is only a few hundred bytes.
  const progress = (loaded) => {
    item.sent = Math.min(item.file.size, loaded);
    changed();
  };
  const response = await withRetry(item, changed, signal, () => request("POST", url, { body, signal, progress }), isBusy);
  const result = response.json?.files?.[0];
  if (response.status !== 201 || result?.status !== "stored") {
    throw Object.assign(new Rejected(response, result?.error), { exists: true });
  }
  if (isFast) {
    try {
      item.matches = hex(await sha256(await item.file.arrayBuffer())) === result.sha256;
    } catch {
      // The file was stored; the upload did not fail because the browser can no longer read it.
      item.matches = undefined;
    }
  }
  return result;
}

async function sendParts(item, changed, signal) {
  item.fingerprint ??= await fingerprint(item.file);
  const upload = await open(item, changed, signal);
  const size = upload.part_size;
  const numbers = Array.from({ length: Math.ceil(item.file.size / size) }, (_, at) => at + 1).slice(upload.parts.length);
  const done = item.arrived;
  const loaded = new Map();
  const count = () => {
    item.sent = Math.min(item.file.size, done + [...loaded.values()].reduce((sum, bytes) => sum + bytes, 0));
    changed();
  };
  item.from = done;
  count();
  await compare(item, upload, signal);
  const one = async (number) => {
    const bytes = await item.file.slice((number - 1) * size, number * size).arrayBuffer();
    const headers = { "Content-Type": "application/octet-stream" };
    if (isFast) headers["Content-Digest"] = `sha-256=:${base64(await sha256(bytes))}:`;
    const response = await withRetry(item, changed, signal, () =>
      request("POST", `${item.target.path}/${upload.id}/parts?number=${number}`, {
        body: bytes,
        headers,
        signal,
        progress: (sent) => {
          loaded.set(number, Math.min(sent, bytes.byteLength));
          count();
        },
      }),
    );
    if (response.status !== 200) throw new Rejected(response);
    loaded.set(number, bytes.byteLength);
    item.arrived += bytes.byteLength;
    item.compared = Math.max(item.compared, number);
    count();
  };
  const worker = async () => {
    while (numbers.length > 0) await one(numbers.shift());
  };
  await Promise.all(Array.from({ length: MAX_PARALLEL }, worker));
  const body = new URLSearchParams(item.target.overwrite ? { overwrite: "1" } : {});
  const response = await withRetry(item, changed, signal, () => request("POST", `${item.target.path}/${upload.id}/completion`, { body, signal }));
  if (response.status !== 200) throw Object.assign(new Rejected(response), { exists: true });
  item.matches = isFast || undefined;
  item.upload = null;
  return response.json.files[0];
}

/** Verifies the parts uploaded earlier: a change of the file need not affect its size, time, or first and last MiB. */
async function compare(item, upload, signal) {
  item.compared ??= 0;
  if (!isFast) return;
  for (const part of upload.parts.slice(item.compared)) {
    if (signal.aborted) throw new Stopped();
    const start = (part.number - 1) * upload.part_size;
    const digest = hex(await sha256(await item.file.slice(start, start + part.size).arrayBuffer()));
    if (digest !== part.sha256) throw new Changed("The file changed after its first parts were uploaded. Start over with the current file, or choose the original file.");
    item.compared = part.number;
  }
}

/** Starts the upload on the server, or returns the progress of an unfinished one. */
async function open(item, changed, signal) {
  const body = new URLSearchParams({
    name: item.file.name,
    prefix: item.target.prefix + item.directory,
    type: item.file.type,
    length: item.file.size,
    fingerprint: item.fingerprint,
  });
  if (item.target.overwrite) body.set("overwrite", "1");
  if (item.restart) body.set("restart", "1");
  // Not aborted by a pause: the id is needed to resume or abort the upload.
  const response = await withRetry(item, changed, signal, () => request("POST", `${item.target.path}/resumable`, { body }));
  if (response.status !== 200) throw Object.assign(new Rejected(response), { exists: true });
  item.restart = false;
  if (item.upload !== response.json.id) item.compared = 0;
  item.upload = response.json.id;
  item.keptUntil = response.json.kept_until;
  item.arrived = response.json.parts.reduce((sum, part) => sum + part.size, 0);
  if (signal.aborted) {
    if (item.state === "cancelled") discard(item);
    throw new Stopped();
  }
  return response.json;
}
