// Pictures and texts of documents: where they come from, and what waits until it is needed.

import { Kept } from "./kept.js";
import { api } from "./session.js";

const KEPT_PICTURES = 500;
const KEPT_TEXTS = 500;
const TEXT_LETTERS = 4000;

/** Addresses of bytes that only a key opens: they hold memory until they are revoked. @type {Kept<string>} */
const pictures = new Kept(KEPT_PICTURES, (address) => URL.revokeObjectURL(address));
/** @type {Kept<string>} */
const texts = new Kept(KEPT_TEXTS);

/** Let an image show an address of the API; where a key is needed, the bytes are fetched with it. @param {Element | undefined} image @param {string | null | undefined} url */
export function load(image, url) {
  if (!(image instanceof HTMLImageElement) || !url || image.dataset.url === url) return;
  image.dataset.url = url;
  if (!api.key) {
    image.src = url;
    return;
  }
  pictures.once(url, () => api.picture(url)).then((address) => {
    if (image.dataset.url === url) image.src = address;
  }, () => {});
}

/** Have a picture ready before it is shown. @param {string | null} url */
export function prefetch(url) {
  if (!url || api.key) return;
  const image = new Image();
  image.fetchPriority = "low";
  image.src = url;
}

/** Return the blob of a document that holds what it is read from. @param {any} doc */
export function blobOf(doc) {
  const blobs = doc.document_blobs ?? [];
  return blobs.find((/** @type {any} */ one) => one.url.includes(doc.sha256)) ?? blobs[0] ?? null;
}

/** Return the address of a document's picture, as large as there is one: of its part, or of the whole that it is from. @param {any} doc */
export function largeOf(doc, isWhole = false) {
  const blob = blobOf(doc);
  return blob?.type === "image" && (isWhole || !doc.part) ? blob.url : doc.thumbnail_url;
}

/** Whether a document is shown by its words. @param {any} doc */
export function isText(doc) {
  return !doc.thumbnail_url;
}

/** Return the words of a text document, the beginning of long ones. @param {any} doc @returns {Promise<string>} */
export async function textOf(doc) {
  const blob = blobOf(doc);
  if (!blob || blob.type !== "text") return "";
  return texts.once(blob.url, async () => {
    const response = await fetch(blob.url, { headers: api.headers });
    return response.ok ? (await response.text()).slice(0, TEXT_LETTERS) : "";
  });
}
