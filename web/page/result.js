// One probe: what was asked for, how far it is, its results and the files of them. While it runs
// its tables are read again as it gets on.
import { get } from "./daemon.js";
import { settings } from "./facts.js";
import { Landscape, needs as landscapeNeeds } from "./landscape.js";
import { Radius, needs as radiusNeeds } from "./radius.js";
import { Sharpness, needs as sharpnessNeeds } from "./sharpness.js";
import { Spectrum, needs as spectrumNeeds } from "./spectrum.js";
import { ENDED } from "./store.js";
import { clock, count, duration, make, say } from "./text.js";

const AGAIN_MS = 1000, ROW_MS = 0.05; // how long after a look the next one is taken
const MOST_ROWS = 100000; // of a table that is drawn; more is for the files

// What is as it always is.
const QUIET = new Set(["batch_size 0", "variance 0", "preset none", "upload 0", "layers none"]);

const VIEWS = {
  spectrum: { View: Spectrum, needs: spectrumNeeds },
  landscape: { View: Landscape, needs: landscapeNeeds },
  radius: { View: Radius, needs: radiusNeeds },
  sharpness: { View: Sharpness, needs: sharpnessNeeds },
};

// What was asked for, where it says something; members of objects stand behind their object's name.
function requestText(request) {
  const all = Object.entries(request);
  const isObject = (value) => value !== null && typeof value === "object";
  const plain = all.filter(([name, value]) => name !== "kind" && !isObject(value)
    && !QUIET.has(`${name} ${value}`));
  const nested = all.filter(([, value]) => isObject(value) && value.direction !== "none"
    && Object.values(value).some(Boolean));
  const texts = nested.map(([name, { direction, ...rest }]) =>
    `${name}: ${[direction, settings(rest)].filter(Boolean).join(" · ")}`);
  return [settings(Object.fromEntries(plain)), ...texts].join(" · ");
}

export class Result {
  constructor(host, probe) {
    this.number = probe.number;
    this.known = VIEWS[probe.kind] ?? null; // a kind that came after this page has files only
    this.title = make("h3");
    this.about = make("p.small");
    this.reason = make("p.reason", { hidden: true });
    this.message = make("p.message", { hidden: true });
    this.body = make("div.view");
    this.files = make("p.small.csv");
    this.root = make("section", {}, make("div.result-head", {}, this.title), this.reason,
      this.message, this.body, this.files, this.about);
    this.root.setAttribute("aria-label", `Probe ${probe.number}`);
    host.replaceChildren(this.root);
    this.view = this.known ? new this.known.View(this.body, probe) : null;
    this.reading = false;
    this.timer = 0;
    this.rows = 0;     // that were read last
    this.read = "";    // what of the probe was read last
    this.closed = false;
  }

  show(probe) {
    this.probe = probe;
    this.root.dataset.state = probe.state;
    say(this.title, `Probe ${probe.number}: ${probe.kind} at update ${count(probe.update)}`);
    this.reason.hidden = !probe.reason;
    this.reason.dataset.state = probe.state;
    say(this.reason, probe.reason ?? "");
    this.message.hidden = !probe.message;
    say(this.message, probe.message ?? "");
    say(this.about, this.aboutText());
    this.refresh();
  }

  aboutText() {
    const { request, started_at: started, finished_at: finished, planned, threads } = this.probe;
    const { kind, update, ...rest } = request;
    const seconds = (Date.parse(finished) - Date.parse(started)) / 1000;
    const took = finished && started ? ` · took ${duration(seconds)}`
      + (threads ? ` on ${threads} thread${threads > 1 ? "s" : ""}` : "") : "";
    return `${requestText(rest)} · asked for ${planned ? "by the job, " : ""}${
      clock(this.probe.created_at)}${took}`;
  }

  // Reads the tables again if anything of the probe has changed, now and then while it runs.
  refresh() {
    const { state, progress, tables } = this.probe;
    const now = `${state} ${progress}`;
    if (this.closed || this.reading || this.timer || now === this.read) return;
    if (state === "queued" && !tables.some(({ rows }) => rows)) {
      this.view?.set(this.probe, this.empty());
      this.showFiles();
      return;
    }
    this.read = now;
    this.reading = true;
    let wait = AGAIN_MS;
    this.load().then(() => {
      wait = ENDED.has(this.probe.state) ? 0 : AGAIN_MS + ROW_MS * this.rows;
    }).catch((error) => {
      this.message.hidden = false;
      say(this.message, error.message);
      if (!error.final) this.read = "";
    }).finally(() => {
      this.reading = false;
      if (!this.closed) this.timer = setTimeout(() => this.look(), wait);
    });
  }

  look() {
    this.timer = 0;
    this.refresh();
  }

  empty() {
    return Object.fromEntries((this.known?.needs ?? []).map((name) => [name, []]));
  }

  async load() {
    const { url } = this.probe, tables = this.empty();
    // How many rows there are, and the summary, are news of the same moment.
    const probe = ENDED.has(this.probe.state) ? this.probe : await get(url);
    const large = [];
    this.rows = 0;
    await Promise.all(Object.keys(tables).map(async (name) => {
      const table = probe.tables.find((each) => each.name === name);
      if (!table?.rows) return;
      if (table.rows > MOST_ROWS) large.push(`${count(table.rows)} ${name}`);
      else tables[name] = (await get(table.url)).rows;
      this.rows += tables[name].length;
    }));
    if (this.closed) return;
    this.probe = { ...this.probe, summary: probe.summary, tables: probe.tables };
    if (large.length) {
      this.message.hidden = false;
      say(this.message, `${large.join(", ")} are too many to draw here; the files have them.`);
    }
    this.view?.set(this.probe, tables);
    this.showFiles();
  }

  showFiles() {
    const { job, number, tables, vectors } = this.probe;
    const link = (text, href, download) => make("a", { href, download }, text);
    const links = tables.filter(({ rows }) => rows).map(({ name, rows, url }) =>
      [link(`${name}.csv`, `${url}?format=csv`, `job-${job}-probe-${number}-${name}.csv`),
        rows > 1 ? ` (${count(rows)} rows)` : ""]);
    if (vectors) {
      links.push([link("vectors.safetensors", vectors, `job-${job}-probe-${number}.safetensors`)]);
    }
    const key = JSON.stringify([tables, vectors]);
    if (this.filed === key) return;
    this.filed = key;
    this.files.replaceChildren(...links.flatMap((parts, i) => (i ? [" · ", ...parts] : parts)));
  }

  recolour() {
    this.view?.recolour();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.view?.close();
    this.root.remove();
  }
}
