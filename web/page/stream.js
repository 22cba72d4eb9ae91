// Server-sent events over fetch: EventSource cannot send the token, and hides why it lost its
// connection. Comes back by itself with Last-Event-ID, so nothing is missed.

const SILENCE_MS = 60000; // the daemon sends a comment more often than that
const LONGEST_WAIT_MS = 15000;

// One event's lines. Null for a comment.
function parse(block) {
  const event = { type: "message", id: null, data: "" };
  const data = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon === 0) continue;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") event.type = value;
    else if (name === "id") event.id = value;
    else if (name === "data") data.push(value);
  }
  if (!data.length) return null;
  event.data = data.join("\n");
  return event;
}

// Calls onEvent for each event of a response's body, onBytes for whatever came.
export async function read(body, onEvent, onBytes = () => {}) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    onBytes();
    const blocks = (rest + value.replaceAll("\r", "")).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = parse(block);
      if (event) onEvent(event);
    }
  }
}

// Follows a stream until the returned function is called.
//   open(lastId, signal): a promise of the response
//   event({ type, id, data }): data is parsed JSON
//   state("connecting" | "live" | "waiting", seconds until the next try)
//   ended(error): for good, after all was sent or with an error that no repetition will change
export function follow({ open, event, state = () => {}, ended = () => {}, lastId = null }) {
  let stopped = false, tries = 0, abort = null, timer = 0, wake = () => {};

  const received = (message) => {
    if (message.id !== null) lastId = message.id;
    event({ type: message.type, id: message.id, data: JSON.parse(message.data) });
  };

  // False when the daemon says that nothing will ever follow.
  async function once() {
    abort = new AbortController();
    let watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
    };
    try {
      const response = await open(lastId, abort.signal);
      if (response.status === 204) return false;
      alive();
      tries = 0;
      state("live");
      await read(response.body, received, alive);
      return true;
    } finally {
      clearTimeout(watchdog);
      abort.abort();
    }
  }

  async function run() {
    while (!stopped) {
      state("connecting");
      try {
        if (!(await once())) {
          ended();
          return;
        }
      } catch (error) {
        if (!stopped && error.final) {
          ended(error);
          return;
        }
      }
      if (stopped) return;
      const wait = Math.min(LONGEST_WAIT_MS, 500 * 2 ** tries++);
      state("waiting", Math.ceil(wait / 1000));
      await new Promise((resolve) => {
        wake = resolve;
        timer = setTimeout(resolve, wait);
      });
    }
  }

  const hurry = () => {
    clearTimeout(timer);
    wake();
  };
  // A page that was left may be kept for a while, in case somebody comes back, and its streams would
  // take the few connections that a browser opens to one server. When it is shown again it goes on.
  const leave = () => abort?.abort();
  window.addEventListener("online", hurry);
  window.addEventListener("pagehide", leave);
  run();
  return () => {
    stopped = true;
    window.removeEventListener("online", hurry);
    window.removeEventListener("pagehide", leave);
    if (abort) abort.abort();
    hurry();
  };
}
