// Sends one file: a small one with the form, a large one in parts that survive a dropped connection, a reload of the
// page and a restart of the server. What a row shows is kept on the item; `changed` is called when that changes.

import { base64, fingerprint, hex, isFast, sha256 } from "./digest.js";

/** Files up to this size go with the form. */
const SMALL = 8 << 20;
/** Parts of one file that travel at once. */
const AT_ONCE = 2;
const TRIES = 7;

class Stopped extends Error {}

/** The file is not the one of which parts have arrived. */
class Changed extends Error {}

/** An answer that says no; `message` is its sentence. */
class Refused extends Error {
  constructor(answer, sentence) {
    const reference = answer.status >= 500 && answer.json?.request_id ? ` Reference ${answer.json.request_id}` : "";
    super((sentence ?? answer.json?.detail ?? "Larder did not accept this file.") + reference);
    this.answer = answer;
  }
}

/** Sends the item: "stored" or "failed" in the end, nothing where it was paused or cancelled; never throws. */
export async function send(item, changed) {
  const stop = new AbortController();
  item.stop = stop;
  try {
    const told = item.file.size > SMALL ? await sendParts(item, changed, stop.signal) : await sendForm(item, changed, stop.signal);
    item.sent = item.file.size;
    item.sha256 = told.sha256;
    item.url = `${item.place.path.replace(/uploads$/, "object")}?key=${encodeURIComponent(told.key)}`;
    return "stored";
  } catch (error) {
    // Parts that had not arrived whole are sent again.
    if (item.upload) item.sent = item.arrived;
    if (error instanceof Stopped) return null;
    explain(item, error);
    return "failed";
  } finally {
    // The other parts of a file that has failed need not travel on.
    stop.abort();
    if (item.stop === stop) {
      item.stop = null;
      item.waits = false;
    }
  }
}

/** What has arrived is given up at the server too. */
export function discard(item) {
  if (!item.upload) return;
  ask("POST", `${item.place.path}/${item.upload}/deletion`, { body: new URLSearchParams() }).catch(() => {});
  item.upload = null;
}

function explain(item, error) {
  const status = error instanceof Refused ? error.answer.status : -1;
  item.changed = error instanceof Changed || error.answer?.json?.changed === true;
  item.exists = status === 409 && !item.place.overwrite && error.exists === true;
  if (status === 401) item.why = "You are signed out. Sign in in another tab, then retry.";
  else if (status === 0) item.why = item.upload ? "The connection broke. Retry sends only what is missing." : "The connection broke. Nothing of this file was stored; retry sends it again.";
  else if (error instanceof Refused || error instanceof Changed) item.why = error.message;
  else item.why = "The browser cannot read this file any more: it was changed, moved or deleted.";
}

/** One request. Resolves with its answer, status 0 where there was none; throws where it was stopped. */
function ask(method, url, { body = null, headers = {}, signal = null, progress = null } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    if (signal?.aborted) return reject(new Stopped());
    signal?.addEventListener("abort", stop);
    request.open(method, url);
    request.setRequestHeader("Accept", "application/json");
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    if (progress) request.upload.addEventListener("progress", (event) => progress(event.loaded));
    request.addEventListener("loadend", () => {
      signal?.removeEventListener("abort", stop);
      if (signal?.aborted) return reject(new Stopped());
      let json = null;
      try {
        json = JSON.parse(request.responseText);
      } catch {
        json = null;
      }
      resolve({ status: request.status, json, wait: Number(request.getResponseHeader("Retry-After")) || 0 });
    });
    request.send(body);
  });
}

/** Nothing has been stored, for sure. */
const isBusy = (status) => status === 429 || status === 503;
const passes = (status) => status === 0 || status === 408 || status === 429 || status === 502 || status === 503 || status === 504;

/** Asks again, ever more slowly, while the server or the way to it is away. */
async function insist(item, changed, signal, once, again = passes) {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await once();
    if (!again(answer.status) || attempt === TRIES) return answer;
    item.waits = true;
    changed();
    const hurried = await pause(Math.max(answer.wait, Math.min(2 ** (attempt - 1), 20)) * 1000, signal);
    if (hurried) attempt = 0;
    item.waits = false;
    changed();
  }
}

/** What ends the pauses that are under way. */
const waking = new Set();

/** Whatever waits to ask again asks now. */
export function hurry() {
  for (const wake of [...waking]) wake();
}
window.addEventListener("online", hurry);

/** Whether it was cut short by `hurry`. */
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

/** As servers of S3 read it: also what encodeURIComponent leaves alone. */
const encoded = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

async function sendForm(item, changed, signal) {
  const overwrite = item.place.overwrite ? "&overwrite=1" : "";
  const body = new FormData();
  body.append("file", item.file, item.file.name);
  const url = `${item.place.path}?prefix=${encoded(item.place.prefix + item.directory)}${overwrite}&single=1`;
  // The form around the file is a few hundred bytes.
  const progress = (loaded) => {
    item.sent = Math.min(item.file.size, loaded);
    changed();
  };
  const answer = await insist(item, changed, signal, () => ask("POST", url, { body, signal, progress }), isBusy);
  const told = answer.json?.files?.[0];
  if (answer.status !== 201 || told?.status !== "stored") {
    throw Object.assign(new Refused(answer, told?.error), { exists: true });
  }
  if (isFast) {
    try {
      item.matches = hex(await sha256(await item.file.arrayBuffer())) === told.sha256;
    } catch {
      // It is stored; that the browser cannot read it any more is no fault of the upload.
      item.matches = undefined;
    }
  }
  return told;
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
    const answer = await insist(item, changed, signal, () =>
      ask("POST", `${item.place.path}/${upload.id}/parts?number=${number}`, {
        body: bytes,
        headers,
        signal,
        progress: (sent) => {
          loaded.set(number, Math.min(sent, bytes.byteLength));
          count();
        },
      }),
    );
    if (answer.status !== 200) throw new Refused(answer);
    loaded.set(number, bytes.byteLength);
    item.arrived += bytes.byteLength;
    item.compared = Math.max(item.compared, number);
    count();
  };
  const work = async () => {
    while (numbers.length > 0) await one(numbers.shift());
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const body = new URLSearchParams(item.place.overwrite ? { overwrite: "1" } : {});
  const answer = await insist(item, changed, signal, () => ask("POST", `${item.place.path}/${upload.id}/completion`, { body, signal }));
  if (answer.status !== 200) throw Object.assign(new Refused(answer), { exists: true });
  item.matches = isFast || undefined;
  item.upload = null;
  return answer.json.files[0];
}

/** Whether what has arrived earlier is what this file has: a change need not show in its size, time or edges. */
async function compare(item, upload, signal) {
  item.compared ??= 0;
  if (!isFast) return;
  for (const part of upload.parts.slice(item.compared)) {
    if (signal.aborted) throw new Stopped();
    const begin = (part.number - 1) * upload.part_size;
    const digest = hex(await sha256(await item.file.slice(begin, begin + part.size).arrayBuffer()));
    if (digest !== part.sha256) throw new Changed("The file has changed since its first parts were sent. Start over with this one, or choose the file as it was.");
    item.compared = part.number;
  }
}

/** Begins the upload at the server, or finds how far it has come. */
async function open(item, changed, signal) {
  const body = new URLSearchParams({
    name: item.file.name,
    prefix: item.place.prefix + item.directory,
    type: item.file.type,
    length: item.file.size,
    fingerprint: item.fingerprint,
  });
  if (item.place.overwrite) body.set("overwrite", "1");
  if (item.anew) body.set("anew", "1");
  // Not cut off by a pause: what the server has begun must be known, to be gone on with or given up.
  const answer = await insist(item, changed, signal, () => ask("POST", `${item.place.path}/resumable`, { body }));
  if (answer.status !== 200) throw Object.assign(new Refused(answer), { exists: true });
  item.anew = false;
  if (item.upload !== answer.json.id) item.compared = 0;
  item.upload = answer.json.id;
  item.keptUntil = answer.json.kept_until;
  item.arrived = answer.json.parts.reduce((sum, part) => sum + part.size, 0);
  if (signal.aborted) {
    if (item.state === "cancelled") discard(item);
    throw new Stopped();
  }
  return answer.json;
}
