// The page: which job is chosen, the connection's state, the words at the top.
import { get } from "./daemon.js";
import { Detail } from "./detail.js";
import { machine } from "./facts.js";
import { List, progressOf } from "./list.js";
import { Store } from "./store.js";
import { SweepDetail } from "./sweep.js";
import { Sweeps } from "./sweeps.js";
import { called, make, say } from "./text.js";

const HEALTH_MS = 10000, TICK_MS = 15000;
const PATIENCE_MS = 2000; // a break that is shorter than this is no news

const at = (id) => document.getElementById(id);
const wide = window.matchMedia("(min-width: 56rem)");
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const store = new Store();
const list = new List(store, at("rows"), at("counts"), at("older"));
const sweeps = new Sweeps(store, at("sweeps"), at("sweep-rows"));
let detail = null; // of the chosen job or sweep

function announce(text, trouble = false) {
  say(at("spoken"), text);
  if (trouble) banner("action", text, 8000);
}

// One line at the top for what is wrong; each source has its own and the first one is shown.
const troubles = new Map();

function banner(source, text, forgetMs = 0) {
  if (text) troubles.set(source, text);
  else troubles.delete(source);
  const [first = ""] = troubles.values();
  at("banner").hidden = !first;
  say(at("banner"), first);
  if (text && forgetMs) setTimeout(() => banner(source, ""), forgetMs);
}

const ID = "([1-9]\\d{0,15})";
const ROUTE = new RegExp(`^#/(?:jobs/${ID}(?:/probes/${ID})?|sweeps/${ID})$`);

// "#/jobs/3" → { View: Detail, id: 3, probe: null }; "#/jobs/3/probes/2" has a probe, too
function chosen() {
  const [, job, probe, sweep] = ROUTE.exec(location.hash) ?? [];
  if (sweep) return { View: SweepDetail, id: Number(sweep), probe: null };
  return job ? { View: Detail, id: Number(job), probe: probe ? Number(probe) : null } : null;
}

// Where there is room for both panes something is always shown: what runs, else the newest.
function suggestion() {
  if (!wide.matches) return null;
  if (detail instanceof Detail) return { View: Detail, id: detail.id, probe: null };
  const jobs = store.list(), job = jobs.find(({ state }) => state === "running") ?? jobs[0];
  return job ? { View: Detail, id: job.id, probe: null } : null;
}

function route() {
  const what = chosen() ?? suggestion();
  document.body.dataset.view = chosen() === null ? "list" : "job";
  if (detail && !(what && detail instanceof what.View && detail.id === what.id)) {
    detail.close();
    detail = null;
  }
  if (what && !detail) {
    const source = what.View === Detail ? store : sweeps;
    detail = new what.View(source, what.id, at("job"), { announce, confirm, leave });
    if (chosen() !== null && document.activeElement === document.body) window.scrollTo(0, 0);
  }
  if (what) detail.choose(what.probe);
  else at("job").replaceChildren();
  list.selected = detail instanceof Detail ? detail.id : null;
  sweeps.selected = detail instanceof SweepDetail ? detail.id : null;
  list.show();
  sweeps.show();
  title();
}

function title() {
  const running = store.list().filter((job) => job.state === "running");
  let text = "rwpd";
  if (running.length > 1) text = `${running.length} running · rwpd`;
  if (running.length === 1) {
    text = `${Math.floor(100 * progressOf(running[0]))} % · ${called(running[0])} · rwpd`;
  }
  if (document.title !== text) document.title = text;
}

function first() {
  return make("div.nothing", {},
    make("h1", {}, "No job yet"),
    make("p", {}, "Post one from a terminal; it appears here at once:"),
    make("pre", {}, make("code", {}, [
      `curl ${location.origin}/v1/jobs -H 'Content-Type: application/json' -d '{`,
      '  "name": "first",',
      '  "model": {"kind": "resnet", "width": 8, "blocks": [1, 1, 1]},',
      '  "dataset": {"kind": "digits", "train_limit": 300, "label_noise": 0.2},',
      '  "method": {"kind": "m-arwp", "sigma": 0.15, "lambda": 0.5},',
      '  "batch_size": 30, "epochs": 60',
      "}'",
    ].join("\n"))),
    copyButton(),
    make("p.small", {}, "What else can be asked for: ",
      make("a", { href: "/v1/methods" }, "methods"), ", ",
      make("a", { href: "/v1/models" }, "models"), ", ",
      make("a", { href: "/v1/datasets" }, "datasets"), ", ",
      make("a", { href: "/openapi.json" }, "the whole API"), "."));
}

function copyButton() {
  const button = make("button", { type: "button", hidden: !navigator.clipboard }, "Copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(at("empty").querySelector("pre").textContent);
    say(button, "Copied");
    setTimeout(() => say(button, "Copy"), 2000);
  });
  return button;
}

function showEmpty() {
  const empty = store.loaded && store.jobs.size === 0 && chosen() === null;
  const focused = empty && at("jobs").contains(document.activeElement); // which is hidden then
  document.body.dataset.empty = String(empty);
  if (empty && !at("empty").children.length) at("empty").append(first());
  if (!empty) at("empty").replaceChildren();
  if (focused) at("empty").focus();
}

// What was chosen is there no more. The focus goes to what is shown in its place.
function leave() {
  const { activeElement, body } = document;
  // An action's button is disabled while that is under way, and has lost it.
  const focused = at("job").contains(activeElement) || (detail?.busy && activeElement === body);
  detail?.close();
  detail = null;
  if (chosen() !== null) location.hash = "#/";
  route();
  showEmpty();
  if (!focused) return;
  const shown = ["job", "jobs", "empty"].map(at).find((pane) => pane.offsetParent);
  shown.focus({ preventScroll: true });
}

// What an action takes away, of a job or a sweep.
const LOST = {
  cancel: { verb: "Cancel", job: "stops and cannot be resumed. What it recorded stays.",
    sweep: "and all of its jobs stop and cannot be resumed. What they recorded stays." },
  delete: { verb: "Delete", job: "and all that it recorded are removed for good: its curves, "
    + "checkpoints and probes.",
  sweep: "and all of its jobs are removed for good, with their curves, checkpoints and probes." },
};

function confirm(thing, action, what) {
  const dialog = at("sure"), yes = dialog.querySelector(".danger"), { verb } = LOST[action];
  say(at("sure-title"), `${verb} this ${what}?`);
  say(yes, `${verb} the ${what}`);
  yes.value = action;
  say(at("sure-text"), `“${called(thing, what)}” ${LOST[action][what]}`);
  dialog.returnValue = "keep";
  dialog.showModal();
  return new Promise((resolve) => {
    const answer = () => resolve(dialog.returnValue === action);
    dialog.addEventListener("close", answer, { once: true });
  });
}

function onLink({ detail: { state, seconds } }) {
  const texts = {
    connecting: "connecting…",
    live: "live",
    waiting: `offline, again in ${seconds} s`,
  };
  at("link").dataset.state = state;
  say(at("link"), texts[state]);
  if (state === "live") {
    setOffline(false);
    detail?.onProbe(); // one may have been asked for meanwhile
  } else if (state === "waiting" && !breaking) breaking = setTimeout(setOffline, PATIENCE_MS, true);
}

let breaking = 0; // the timer of a break

function setOffline(offline) {
  if (!offline) {
    clearTimeout(breaking);
    breaking = 0;
  }
  if (store.offline === offline) return;
  store.offline = offline;
  document.body.dataset.offline = String(offline);
  banner("offline", offline ? `The daemon does not answer. This is how things were at ${
    new Date().toLocaleTimeString()}; the page goes on by itself.` : "");
  if (detail) detail.show();
}

async function health() {
  try {
    await get("/readyz");
    banner("health", "");
  } catch (error) {
    if (error.status === 503) banner("health", error.message);
  }
}

async function devices() {
  try {
    say(at("device"), machine((await get("/v1/devices")).devices));
  } catch { /* that the daemon does not answer is said elsewhere */ }
}

store.addEventListener("changed", () => {
  showEmpty();
  if (detail === null) route();
  list.show();
  title();
  if (detail) detail.show();
});
store.addEventListener("emptied", () => {
  detail?.close();
  detail = null;
  route();
});
store.addEventListener("deleted", ({ detail: ids }) => {
  if (detail instanceof Detail && ids.includes(detail.id)) leave();
});
store.addEventListener("probe", ({ detail: { job } }) => {
  if (detail?.id === job) detail.onProbe();
});
store.addEventListener("link", onLink);
store.addEventListener("trouble", ({ detail: error }) => banner("list", error.message, 5000));
window.addEventListener("logged-out", () => location.assign("/"));
window.addEventListener("hashchange", () => {
  route();
  showEmpty();
});
wide.addEventListener("change", route);
dark.addEventListener("change", () => detail?.recolour());
document.querySelector("[data-skip]").addEventListener("click", (event) => {
  event.preventDefault();
  at("job").focus();
});
setInterval(() => list.show(), TICK_MS); // "3 min ago"
setInterval(health, HEALTH_MS);
setInterval(devices, HEALTH_MS); // a GPU may be set aside, and be back
store.start();
route();
health();
devices();
