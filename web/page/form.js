// The form that asks for a probe, out of what the daemon says that it can: a few members at once,
// the others behind "More settings". Only what somebody has set is sent.
import { get, post } from "./daemon.js";
import { count, make, say } from "./text.js";

const KIND = "kind", UPDATE = "update";
const FIRST = new Set(["preset", "samples", "split", "direction", "suggest", "sigma", "rho"]);

const words = (name) => name.replaceAll("_", " ");

let kinds = null; // of probes; they never change while the daemon runs

export async function probeKinds() {
  kinds ??= (await get("/v1/probes")).probes;
  return kinds;
}

// One member that can be set. value(): undefined while it is as the daemon has it.
class Input {
  constructor(parameter, path) {
    this.parameter = parameter;
    this.path = path; // ["x", "points"]
    this.control = this.make();
    this.control.title = parameter.doc ?? "";
    this.label = make("label.field", { title: this.control.title },
      make("span", {}, words(path.join(" "))), this.control);
  }

  make() {
    const { type, choices, default: standard, min, max } = this.parameter;
    if (type === "choice") {
      return make("select", {}, ...choices.map((choice) =>
        make("option", { value: choice, selected: choice === standard }, choice)));
    }
    if (type === "boolean") return make("input", { type: "checkbox", checked: standard });
    const more = type === "string" ? { type: "text" }
      : { type: "number", step: type === "integer" ? 1 : "any", min, max };
    return make("input", { ...more, placeholder: String(standard ?? "") });
  }

  value() {
    const { type, default: standard } = this.parameter;
    if (type === "boolean") {
      return this.control.checked === standard ? undefined : this.control.checked;
    }
    if (this.control.value === "" || (type === "choice" && this.control.value === standard)) {
      return undefined;
    }
    return type === "choice" || type === "string" ? this.control.value : Number(this.control.value);
  }
}

// Every member that a line of the form can set, those of objects one by one.
export function membersOf(parameters, path = []) {
  return parameters.flatMap((parameter) => {
    const at = [...path, parameter.name];
    if (parameter.type === "object") return membersOf(parameter.parameters, at);
    return parameter.name === UPDATE && !path.length ? [] : [{ parameter, path: at }];
  });
}

// { x: { points: 5 } } out of [["x", "points"], 5], …
export function nest(pairs) {
  const made = {};
  for (const [path, value] of pairs) {
    let into = made;
    for (const name of path.slice(0, -1)) into = into[name] ??= {};
    into[path.at(-1)] = value;
  }
  return made;
}

export class ProbeForm {
  // asked(probe): it was accepted
  constructor(job, asked) {
    Object.assign(this, { job, asked, inputs: [], checkpoints: [] });
    this.kind = make("select", { name: KIND });
    this.update = make("select", { name: UPDATE });
    this.doc = make("p.doc");
    this.hint = make("p.hint", { "aria-hidden": "true" }); // controls have it as their description
    this.first = make("div.fields");
    this.rest = make("div.fields");
    this.more = make("details", {}, make("summary", {}, "More settings"), this.rest);
    this.send = make("button.primary", { type: "submit" }, "Ask for it");
    this.errors = make("div.errors", { role: "alert" });
    this.form = make("form.ask", { hidden: true, noValidate: true }, this.doc, this.first,
      this.more, this.hint, this.errors, make("div.actions", {}, this.send));
    this.form.addEventListener("focusin", ({ target }) => say(this.hint, target.title));
    this.kind.addEventListener("change", () => this.show());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
  }

  async open() {
    this.form.hidden = false;
    try {
      this.kinds = await probeKinds();
    } catch (error) {
      this.complain(error);
      return;
    }
    if (!this.kind.options.length) {
      this.kind.append(...this.kinds.map(({ kind }) => make("option", { value: kind }, kind)));
      this.show();
    }
    this.kind.focus();
  }

  setOffline(offline) {
    this.send.disabled = offline;
  }

  setCheckpoints(checkpoints) {
    const updates = checkpoints.map(({ update }) => update).reverse();
    if (updates.join() === this.checkpoints.join() && this.update.options.length) return;
    const { value } = this.update;
    this.checkpoints = updates;
    this.update.replaceChildren(make("option", { value: "" }, "the newest"),
      ...updates.map((update) => make("option", { value: update }, `update ${count(update)}`)));
    if (updates.includes(Number(value))) this.update.value = value;
  }

  // The members of the chosen kind.
  show() {
    const { doc, parameters } = this.kinds.find(({ kind }) => kind === this.kind.value);
    this.inputs = membersOf(parameters).map(({ parameter, path }) => new Input(parameter, path));
    const early = ({ path }) => FIRST.has(path.at(-1));
    const labels = (inputs) => inputs.map(({ label }) => label);
    say(this.doc, doc);
    say(this.hint, "");
    this.first.replaceChildren(make("label.field", {}, make("span", {}, "measure"), this.kind),
      make("label.field", {}, make("span", {}, "checkpoint"), this.update),
      ...labels(this.inputs.filter(early)));
    this.rest.replaceChildren(...labels(this.inputs.filter((input) => !early(input))));
    this.errors.replaceChildren();
  }

  body() {
    const set = this.inputs.map((input) => [input.path, input.value()])
      .filter(([, value]) => value !== undefined);
    const update = this.update.value ? [[[UPDATE], Number(this.update.value)]] : [];
    return nest([[[KIND], this.kind.value], ...update, ...set]);
  }

  async submit() {
    this.send.disabled = true;
    this.mark([]);
    this.errors.replaceChildren();
    try {
      const probe = await post(`/v1/jobs/${this.job}/probes`, this.body());
      this.form.hidden = true;
      this.asked(probe);
    } catch (error) {
      this.complain(error);
    }
    this.send.disabled = false;
  }

  // What the daemon says, as it says it, and which members it means.
  complain(error) {
    const problems = error.errors ?? [];
    this.errors.replaceChildren(make("p", {}, error.message), ...(problems.length
      ? [make("ul", {}, ...problems.map(({ pointer, detail }) =>
        make("li", {}, make("code", {}, pointer), ` ${detail}`)))] : []));
    this.mark(problems.map(({ pointer }) => pointer));
  }

  mark(pointers) {
    for (const { path, control } of this.inputs) {
      const wrong = pointers.includes(`/${path.join("/")}`);
      control.setAttribute("aria-invalid", String(wrong));
      if (wrong && this.rest.contains(control)) this.more.open = true;
    }
  }
}
