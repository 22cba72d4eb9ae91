// What stands below the curves: settings, times, checkpoints, the epochs as a table.
import { bytes, clock, count, counted, duration, make, number, percent, short } from "./text.js";

const EPOCHS = 100; // rows of the table

// What says nothing while it is 0.
const OFF = new Set(["warmup_updates", "warmup_epochs", "clip_norm", "job", "update", "upload"]);

// {"kind": "sam", "rho": 0.5} → "sam · rho 0.5"; what is nested stands in line with the rest.
export function settings({ kind, ...rest }) {
  const parts = Object.entries(rest)
    .filter(([name, value]) => value !== null && value !== "" && value !== false
      && !(value === 0 && OFF.has(name)))
    .map(([name, value]) => (typeof value === "object" && !Array.isArray(value) ? settings(value)
      : `${name.replaceAll("_", " ")} ${[value].flat().join(", ")}`));
  return [kind, ...parts].filter(Boolean).join(" · ");
}

const probeText = ({ kind, every_epochs: every }) =>
  `${kind} ${every === 1 ? "each epoch" : `every ${count(every)} epochs`}`;

// The first device; the processor's cores say nothing of a GPU.
export function machine(devices) {
  const gpus = devices.filter(({ uuid }) => uuid), [first] = devices;
  if (!first) return "";
  return [
    first.description,
    first.uuid ? bytes(first.memory_bytes) : `${first.cores} cores`,
    ...(gpus.length > 1 ? [`${gpus.length} GPUs`] : []),
    ...gpus.filter(({ state }) => state === "set aside" || state === "lost")
      .map(({ name, state }) => `${name} is ${state}`),
  ].join(" · ");
}

// {memory_bytes, seconds_per_update, seconds} → "1.2 GiB · 815 ms an update · 3 h 20 min in all";
// what is null is left out.
export function cost(of) {
  const update = number(of?.seconds_per_update), whole = number(of?.seconds);
  return [
    ...(of?.memory_bytes ? [bytes(of.memory_bytes)
      + (of.device_memory_bytes ? `, of it ${bytes(of.device_memory_bytes)} on the GPU` : "")] : []),
    ...(update ? [`${update < 1 ? `${short(1000 * update, 3)} ms` : `${short(update, 3)} s`} an update`] : []),
    ...(whole ? [`${duration(whole)} in all`] : []),
  ].join(" · ");
}

function settingRows(job) {
  const { spec } = job;
  return [
    ["Method", settings(spec.method)],
    ["Model", `${settings(spec.model)} · ${count(job.parameters)} parameters`],
    ["Data", settings(spec.dataset)],
    ["Optimizer", settings(spec.optimizer)],
    ["Schedule", settings(spec.schedule)],
    ["Length", (spec.updates ? counted(spec.updates, "update") : counted(spec.epochs, "epoch"))
      + ` · batches of ${spec.batch_size}`],
    ...(spec.label_smoothing ? [["Label smoothing", String(spec.label_smoothing)]] : []),
    ...(spec.init_from?.job || spec.init_from?.upload
      ? [["Begins with", settings(spec.init_from)]] : []),
    ...(spec.probes?.length ? [["Probes", spec.probes.map(probeText).join(", ")]] : []),
    ["Seed", String(spec.seed)],
    ["Runs on", [job.measured.device ?? job.facts?.device ?? spec.device,
      job.measured.precision ?? job.facts?.precision ?? spec.precision,
      ...(job.threads ? [`${job.threads} thread${job.threads > 1 ? "s" : ""}`] : [])].join(" · ")],
    ...(job.estimate ? [["Forecast", cost(job.estimate)]] : []),
    ...(job.state !== "running" && cost(job.measured) ? [["Measured", cost(job.measured)]] : []),
    ["Submitted", clock(job.created_at)],
    ...(job.started_at ? [["Started", clock(job.started_at)
      + (job.starts > 1 ? ` · ${job.starts} starts` : "")]] : []),
    ...(job.finished_at ? [["Finished", clock(job.finished_at)]] : []),
  ];
}

// Each file's text, address and name; the series that every job has, and telemetry if it made any.
export function fileRows(job, checkpoints, telemetry) {
  const weights = [...checkpoints].reverse().map((checkpoint) => [
    `checkpoint of update ${count(checkpoint.update)}${checkpoint.final ? ", the last" : ""}`
      + ` · ${bytes(checkpoint.bytes)}`,
    `/v1/jobs/${job.id}/checkpoints/${checkpoint.update}`,
    `job-${job.id}-update-${checkpoint.update}.safetensors`,
  ]);
  const series = ["losses", "epochs", ...(telemetry ? ["telemetry"] : [])].map((name) => [
    `${name} as CSV`,
    `/v1/jobs/${job.id}/${name}?format=csv`,
    `job-${job.id}-${name}.csv`,
  ]);
  return [...weights, ...series];
}

// The newest ones; all are in the CSV file.
export function epochRows(history) {
  return history.epochs.slice(-EPOCHS).reverse().map((e) => [count(e.epoch), count(e.update),
    short(e.trainLoss), percent(e.trainTop1), short(e.testLoss),
    number(e.testTop1) === null ? "–" : percent(e.testTop1, 2), duration(e.seconds)]);
}

const COLUMNS = ["Epoch", "Update", "Training loss", "Training acc.", "Test loss", "Test acc.",
  "Trained for"];

const link = ([text, href, download]) => make("li", {}, make("a", { href, download }, text));

function section(title, content, open) {
  return make("details", { open }, make("summary", {}, title), content);
}

function build(host) {
  const parts = {
    settings: make("dl.settings"),
    files: make("ul.files"),
    messages: make("dl.settings.said"),
    epochs: make("tbody"),
  };
  const titles = COLUMNS.map((name) => make("th", { scope: "col" }, name));
  const head = make("thead", {}, make("tr", {}, ...titles));
  parts.said = section("Messages", make("div.scroll", {}, parts.messages), true);
  host.append(section("Settings", parts.settings, true), section("Files", parts.files, true),
    parts.said, section("Epochs", make("div.scroll", {}, make("table.epochs", {}, head, parts.epochs)), false));
  return parts;
}

const built = new WeakMap();

// Only what has changed is built anew, so that open sections, selections and focus stay.
function renew(part, key, make_children) {
  if (part.made === key) return;
  part.made = key;
  part.replaceChildren(...make_children());
}

export function facts(host, job, files, epochs, messages) {
  if (!built.has(host)) built.set(host, build(host));
  const parts = built.get(host), rows = settingRows(job);
  renew(parts.settings, JSON.stringify(rows), () => rows.flatMap(([name, value]) =>
    [make("dt", {}, name), make("dd", {}, value)]));
  renew(parts.files, JSON.stringify(files), () => files.map(link));
  parts.said.hidden = messages.length === 0;
  renew(parts.messages, JSON.stringify(messages), () => messages.flatMap(({ at, text }) =>
    [make("dt", {}, clock(at)), make("dd", {}, text)]));
  renew(parts.epochs, JSON.stringify([epochs.length, epochs[0]]), () => epochs.map((cells) =>
    make("tr", {}, ...cells.map((cell) => make("td", {}, cell)))));
}
