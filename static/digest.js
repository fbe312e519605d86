// SHA-256 in the browser. The Web Crypto API needs a secure context; the fallback in JavaScript is used for a few MiB only.

const MIB = 1 << 20;

export const isFast = Boolean(globalThis.crypto?.subtle);

/** The SHA-256 of some bytes. */
export async function sha256(bytes) {
  return isFast ? new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)) : fallback(new Uint8Array(bytes));
}

export const hex = (digest) => [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");

export const base64 = (digest) => btoa(String.fromCharCode(...digest));

/** Identifies a file for resuming: name, size, modification time, and a digest of its first and last MiB. */
export async function fingerprint(file) {
  const edges = new Blob([file.slice(0, MIB), file.slice(Math.max(MIB, file.size - MIB))]);
  const digest = hex(await sha256(await edges.arrayBuffer()));
  const name = hex(await sha256(new TextEncoder().encode(file.name))).slice(0, 16);
  return `${name}-${file.size}-${file.lastModified}-${digest}`;
}

/** FIPS 180-4. The constants are fractional parts of the roots of the first primes. */
function fallback(message) {
  const fraction = (value) => ((value - Math.floor(value)) * 2 ** 32) | 0;
  const primes = [];
  for (let candidate = 2; primes.length < 64; candidate += 1) {
    if (primes.every((prime) => candidate % prime !== 0)) primes.push(candidate);
  }
  const k = primes.map((prime) => fraction(Math.cbrt(prime)));
  const state = primes.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));
  const padded = new Uint8Array(Math.ceil((message.length + 9) / 64) * 64);
  padded.set(message);
  padded[message.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(message.length / 2 ** 29));
  view.setUint32(padded.length - 4, message.length << 3);
  const rotate = (word, by) => (word >>> by) | (word << (32 - by));
  const w = new Int32Array(64);
  for (let at = 0; at < padded.length; at += 64) {
    for (let i = 0; i < 16; i += 1) w[i] = view.getInt32(at + i * 4);
    for (let i = 16; i < 64; i += 1) {
      const small0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >>> 3);
      const small1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >>> 10);
      w[i] = (w[i - 16] + small0 + w[i - 7] + small1) | 0;
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 64; i += 1) {
      const big1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const one = (h + big1 + ((e & f) ^ (~e & g)) + k[i] + w[i]) | 0;
      const big0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
      const two = (big0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((word, i) => {
      state[i] = (state[i] + word) | 0;
    });
  }
  const digest = new DataView(new ArrayBuffer(32));
  state.forEach((word, i) => digest.setInt32(i * 4, word));
  return new Uint8Array(digest.buffer);
}
