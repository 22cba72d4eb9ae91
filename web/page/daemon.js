// Talking to the daemon: requests, problems as errors, streams. Where the daemon wants a token, its
// login page has set a cookie that goes along by itself.
import { follow } from "./stream.js";

// An answer that is no success; `final` if asking again will not help.
export class Problem extends Error {
  constructor(status, document) {
    super(document.detail || document.title || `the daemon answered ${status}`);
    this.status = status;
    this.errors = document.errors ?? []; // { pointer, detail } of each member that is wrong
    this.final = [401, 403, 404, 410].includes(status);
  }
}

async function send(path, options) {
  const response = await fetch(path, {
    cache: "no-store",
    ...options,
    headers: { Accept: "application/json", ...options.headers },
  });
  if (response.ok) return response;
  const document = await response.json().catch(() => ({}));
  if (response.status === 401) window.dispatchEvent(new Event("logged-out"));
  throw new Problem(response.status, document);
}

export async function get(path, options = {}) {
  return (await send(path, options)).json();
}

export async function post(path, body = null) {
  const json = body === null ? {}
    : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return (await send(path, { method: "POST", ...json })).json();
}

export async function remove(path) {
  await send(path, { method: "DELETE" });
}

// See follow(); only the path is added here.
export function events(path, handlers) {
  const open = (lastId, signal) => {
    const headers = { Accept: "text/event-stream" };
    if (lastId !== null) headers["Last-Event-ID"] = lastId;
    return send(path, { headers, signal });
  };
  return follow({ ...handlers, open });
}
