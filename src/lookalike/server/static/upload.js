// Bringing things in: files, folders, zips and tables become objects through the public API.

import { contentColumn, rowsOf } from "./csv.js";
import { filesIn } from "./zip.js";

/**
 * One thing to be an object: a file to be read, or a row of a table.
 * @typedef {{path: string, type: "image" | "text" | "other", read?: () => Promise<Blob>, row?: Record<string, string>}} Thing
 */

const IMAGES = /\.(jpe?g|png|gif|webp|avif|bmp|tiff?|heic|heif)$/i;
const TEXTS = /\.(txt|md|html?|pdf|docx)$/i;
const BODY_BYTES = 4_000_000;
const ALONE_BYTES = 5_000_000;
const ROWS = 500;

/** Return all that was dropped or chosen. @param {(File | FileSystemEntry)[]} given @returns {Promise<Thing[]>} */
export async function thingsIn(given) {
  const found = [];
  for (const one of given) found.push(...(one instanceof File ? await thingsOf(one, one.webkitRelativePath || one.name) : await walked(one)));
  return found;
}

/** Return the entries of a drop; to be asked for at once, as the drop forgets them. @param {DataTransfer} transfer */
export function dropped(transfer) {
  const entries = [...transfer.items].map((one) => one.webkitGetAsEntry?.() ?? null).filter((one) => one !== null);
  return entries.length ? entries : [...transfer.files];
}

/** @param {FileSystemEntry} entry @returns {Promise<Thing[]>} */
async function walked(entry) {
  if (entry.isFile) {
    const file = await new Promise((done, failed) => /** @type {FileSystemFileEntry} */ (entry).file(done, failed));
    return thingsOf(file, entry.fullPath.replace(/^\//, ""));
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const found = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return found;
    for (const one of some) found.push(...(await walked(one)));
  }
}

/** @param {File} file @param {string} path @returns {Promise<Thing[]>} */
async function thingsOf(file, path) {
  if (/\.zip$/i.test(path)) return (await filesIn(file)).map(({ path: inner, read }) => ({ path: inner, type: typeOf(inner), read }));
  if (/\.(csv|tsv)$/i.test(path)) return rowsOf(await file.text()).map((row, place) => ({ path: `${path}/${place + 1}`, type: /** @type {const} */ ("text"), row }));
  return [{ path, type: typeOf(path), read: async () => file }];
}

/** @param {string} path */
function typeOf(path) {
  if (IMAGES.test(path)) return "image";
  return TEXTS.test(path) ? "text" : "other";
}

/** What things are, so that a collection can be made of them. @param {Thing[]} things */
export function planOf(things) {
  const images = things.filter((one) => one.type === "image").length;
  const texts = things.filter((one) => one.type === "text").length;
  const isTable = things.some((one) => one.row);
  const kind = images >= texts ? "image" : "text";
  return { kind, isTable, usable: things.filter((one) => one.type === kind), left: things.filter((one) => one.type !== kind).length };
}

/** Return a name that a collection can have. @param {string} path */
export function nameFrom(path) {
  const first = path.split("/")[0].replace(/\.[A-Za-z0-9]+$/, "");
  return first.normalize("NFKD").replace(/[^A-Za-z0-9_-]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 60) || "items";
}

/**
 * Make bucket and collection. @param {import("./api.js").Api} api @param {string} name @param {string} extractor @param {"image" | "text"} type
 */
export async function make(api, name, extractor, type) {
  await api.post("/buckets", { bucket_name: name, schema: { properties: { content: { type } } } });
  return api.post("/collections", {
    collection_name: name, source: { type: "bucket", bucket_id: name },
    feature_extractor: { feature_extractor_name: extractor, input_mappings: { [type === "image" ? "image" : "text"]: "content" } },
    taxonomy: { field_to_enrich: "label" },
  });
}

/**
 * Send things into a bucket, some at a time; `told` hears how many are there and what failed.
 * @param {import("./api.js").Api} api @param {string} bucket @param {Thing[]} things @param {(sent: number, failed: string[]) => void} told
 */
export async function send(api, bucket, things, told) {
  /** @type {string[]} */
  const failed = [];
  const content = contentColumn(things.filter((one) => one.row).map((one) => one.row ?? {}));
  let sent = 0;
  let some = /** @type {any[]} */ ([]);
  let bytes = 0;
  const flush = async () => {
    if (!some.length) return;
    const names = some.map((one) => one.name);
    const answer = await api.post(`/buckets/${bucket}/objects/batch`, { objects: some.map(({ body }) => body) });
    answer.failed.forEach((/** @type {any} */ one) => failed.push(`${names[one.object_index]}: ${one.error}`));
    sent += some.length;
    [some, bytes] = [[], 0];
    told(sent, failed);
  };
  for (const one of things) {
    try {
      const body = one.row ? rowBody(one.row, content) : await fileBody(api, bucket, one);
      const size = JSON.stringify(body).length;
      if (bytes + size > BODY_BYTES || some.length >= ROWS) await flush();
      some.push({ name: one.path, body });
      bytes += size;
    } catch (error) {
      failed.push(`${one.path}: ${/** @type {Error} */ (error).message}`);
    }
  }
  await flush();
  told(sent, failed);
  return failed;
}

/** @param {Record<string, string>} row @param {string} content */
function rowBody(row, content) {
  const { [content]: data, ...metadata } = row;
  if (!data) throw new Error("the row has no text");
  return { metadata, blobs: [{ property: "content", type: "text", data }] };
}

/** @param {import("./api.js").Api} api @param {string} bucket @param {Thing} thing */
async function fileBody(api, bucket, thing) {
  const blob = await /** @type {() => Promise<Blob>} */ (thing.read)();
  const filename = thing.path.split("/").at(-1);
  if (blob.size > ALONE_BYTES) {
    const made = await api.post(`/buckets/${bucket}/uploads`, { filename, file_size_bytes: blob.size, blob_property: "content", create_object_on_confirm: false });
    const address = new URL(made.presigned_url);
    const response = await fetch(address.pathname + address.search, { method: "PUT", body: blob });
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    return { blobs: [{ property: "content", upload_id: made.upload_id }] };
  }
  return { blobs: [{ property: "content", data: { base64: await base64(blob), filename } }] };
}

/** @param {Blob} blob @returns {Promise<string>} */
function base64(blob) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(String(reader.result).split(",")[1] ?? "");
    reader.onerror = () => failed(new Error("the file cannot be read"));
    reader.readAsDataURL(blob);
  });
}
