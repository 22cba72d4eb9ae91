// SAM's worst-case rise and the average rise, as a table.
import { scrolled, table } from "./table.js";
import { make, number, percent, short } from "./text.js";

export const needs = [];

function rowsOf(summary) {
  const error = number(summary.average_standard_error);
  return [
    { what: "At the checkpoint", size: "", loss: summary.loss, rise: null, top1: summary.top1 },
    { what: "Adversarial step (SAM)", size: `ρ ${short(summary.rho, 3)}`, loss: summary.worst_loss,
      rise: summary.worst_rise, top1: null },
    { what: "Random noise (RWP), mean", size: `σ ${short(summary.sigma, 3)}`,
      loss: summary.average_loss, rise: summary.average_rise, top1: summary.average_top1,
      error: error === null ? "" : ` ± ${short(error, 2)}` },
  ];
}

export class Sharpness {
  constructor(host) {
    this.host = make("div.side");
    host.append(this.host);
  }

  set({ summary }) {
    if (!summary) return;
    this.host.replaceChildren(scrolled(table("Sharpness of the checkpoint", [
      { title: "", text: true, cell: (row) => row.what },
      { title: "Size", cell: (row) => row.size },
      { title: "Loss", cell: (row) => short(row.loss) },
      { title: "Rise", cell: (row) => `${short(row.rise)}${row.error ?? ""}` },
      { title: "Accuracy", cell: (row) => percent(row.top1) },
    ], rowsOf(summary))), make("p.marks", {},
      `Norm of the gradient ${short(summary.gradient_norm)} · ${summary.draws} draws · ${
        summary.samples} samples`));
  }

  recolour() {}

  close() {}
}
