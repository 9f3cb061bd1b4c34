// Reading a zip in the browser: the directory at its end, each file as it is asked for.

const END = 0x06054b50;
const ENTRY = 0x02014b50;

/**
 * Return the files of a zip, without folders and what an archiver puts beside them.
 * @param {Blob} blob @returns {Promise<{path: string, read: () => Promise<Blob>}[]>}
 */
export async function filesIn(blob) {
  const tail = new DataView(await blob.slice(Math.max(0, blob.size - 65_557)).arrayBuffer());
  let end = tail.byteLength - 22;
  while (end >= 0 && tail.getUint32(end, true) !== END) end -= 1;
  if (end < 0) throw new Error("this is no zip, or it broke off on the way");
  const [count, size, start] = [tail.getUint16(end + 10, true), tail.getUint32(end + 12, true), tail.getUint32(end + 16, true)];
  if (start === 0xffffffff) throw new Error("this zip is larger than 4 GB; unpack it and drop the folder");
  const list = new DataView(await blob.slice(start, start + size).arrayBuffer());
  const found = [];
  for (let at = 0, one = 0; one < count && list.getUint32(at, true) === ENTRY; one += 1) {
    const [flags, method] = [list.getUint16(at + 8, true), list.getUint16(at + 10, true)];
    const [packed, name, extra, note, place] = [list.getUint32(at + 20, true), list.getUint16(at + 28, true), list.getUint16(at + 30, true), list.getUint16(at + 32, true), list.getUint32(at + 42, true)];
    const path = new TextDecoder().decode(new Uint8Array(list.buffer, at + 46, name));
    if (!path.endsWith("/") && !/(^|\/)(__MACOSX|\.)/.test(path)) found.push({ path, read: () => read(blob, place, packed, method, flags) });
    at += 46 + name + extra + note;
  }
  return found;
}

/** @param {Blob} blob @param {number} place @param {number} packed @param {number} method @param {number} flags */
async function read(blob, place, packed, method, flags) {
  if (flags & 1) throw new Error("it is locked by a password");
  const head = new DataView(await blob.slice(place, place + 30).arrayBuffer());
  const start = place + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const data = blob.slice(start, start + packed);
  if (method === 0) return data;
  if (method !== 8) throw new Error("it is packed in a way that browsers do not read");
  return new Response(data.stream().pipeThrough(new DecompressionStream("deflate-raw"))).blob();
}
