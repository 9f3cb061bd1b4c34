// What is asked while the rest of the page is still on its way: which collections there are.

import { Api } from "./api.js";
import { parse } from "./router.js";

export const api = new Api();
api.namespace = parse(window.location.hash).params.ns ?? "";

/** The answer, or null where there was none: then it is asked for again. @type {Promise<any>} */
export const collections = api.get("/collections", { limit: 200 }).catch(() => null);
