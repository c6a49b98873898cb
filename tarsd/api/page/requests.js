// Asking this page's own node: JSON in, JSON out, and its own sentence when it refuses.

import { memoryWords } from "./memory_words.js";

const ANSWER_WITHIN_MS = 60000; // forgetting waits for the other computers

/** Return what the node answers; throws an Error whose message is for the reader. */
export async function request(method, path, body) {
  const raw = body instanceof Blob;
  const headers = body === undefined ? {} : { "Content-Type": raw ? "application/x-ndjson" : "application/json" };
  const sent = body === undefined || raw ? body : JSON.stringify(body);
  let response;
  try {
    response = await fetch(path, { method, headers, body: sent, signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
  } catch {
    throw new Error(memoryWords().lost);
  }
  const found = await response.json().catch(() => null);
  if (!response.ok) throw new Error(found?.error?.message ?? memoryWords().lost);
  return found;
}

/** Return the path of what is remembered under `key`. */
export const pathOf = (key) => `/api/memories/${key.split("/").map(encodeURIComponent).join("/")}`;
