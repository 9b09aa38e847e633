// A text in the fragment of an address: deflate, then base64url. What is in it is said, and read, by
// page.mjs; here are only the bytes and their bounds.
export const LONGEST = 32000; // characters of a fragment: what mail and chat carry whole
const MOST = 4 << 20; // bytes that a fragment may grow to: a small one can be made that never ends
const FORM = /^#1\.([A-Za-z0-9_-]+)$/;

async function whole(stream, most) {
  const parts = [];
  let size = 0;
  for (const reader = stream.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts).bytes?.() ?? new Uint8Array(await new Blob(parts).arrayBuffer());
    size += value.length;
    if (size > most) throw new Error(`it holds more than ${most} bytes`);
    parts.push(value);
  }
}

const through = (data, stream, most = Infinity) => whole(new Blob([data]).stream().pipeThrough(stream), most);

/** The fragment that carries `said`, JSON data. */
export async function written(said) {
  const packed = await through(new TextEncoder().encode(JSON.stringify(said)), new CompressionStream("deflate-raw"));
  let letters = "";
  for (const byte of packed) letters += String.fromCharCode(byte);
  return `#1.${btoa(letters).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

/** What a fragment carries; null where it is none of ours. Throws where it is one, and broken. */
export async function read(fragment) {
  const found = FORM.exec(fragment.slice(0, 2 * LONGEST));
  if (!found) return null;
  const letters = atob(found[1].replaceAll("-", "+").replaceAll("_", "/"));
  const data = await through(Uint8Array.from(letters, (one) => one.charCodeAt(0)), new DecompressionStream("deflate-raw"), MOST);
  return JSON.parse(new TextDecoder().decode(data));
}
