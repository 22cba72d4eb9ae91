#!/usr/bin/env python3
"""Sweeps on a real daemon: how many of their jobs run, what a stop in the middle does, and their
table against one that is computed here from what the jobs recorded."""

import csv
import io
import json
import math
import os
import statistics
import time
import unittest

import support
from support import job, long_job

FIGURES = os.path.join(support.ROOT, "docs", "figures")
MEASURES = ("train_loss", "train_top1", "test_top1", "best_top1", "generalization_gap",
            "gradient_evaluations", "seconds")


def base(**changes):
    """The base job, without a name."""
    made = job("m-rwp", **changes)
    del made["name"]
    return made


class Sweeps(support.Case):
    def sweep(self, daemon, number, seen=lambda shown: True, seconds=120):
        """The sweep, once it is as wanted."""
        end = time.monotonic() + seconds * support.SLOW
        while True:
            shown = daemon.get(f"/v1/sweeps/{number}")
            if seen(shown):
                return shown
            self.assertLess(time.monotonic(), end, f"{shown}\n{daemon.log()[-2000:]}")
            time.sleep(0.02)

    def wait_end(self, daemon, number):
        return self.sweep(daemon, number, lambda shown: shown["state"] in support.ENDED)

    def wait_counts(self, daemon, number, **counts):
        return self.sweep(daemon, number,
                          lambda shown: all(shown["jobs"][name] == n for name, n in counts.items()))

    def measured(self, daemon, number):
        """What the table is made of, from what the job itself recorded."""
        epochs, shown = daemon.epochs(number), daemon.job(number)
        last = epochs[-1]
        return {"train_loss": last["train_loss"], "train_top1": last["train_top1"],
                "test_top1": last["test_top1"],
                "best_top1": max(epoch["test_top1"] for epoch in epochs),
                "generalization_gap": last["train_top1"] - last["test_top1"],
                "gradient_evaluations": last["gradient_evaluations"],
                "seconds": sum(loss["seconds"] for loss in daemon.losses(number)),
                "state": shown["state"], "point": shown["sweep"]["point"], "spec": shown["spec"]}

    def near(self, one, other, what):
        self.assertTrue(math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12), (what, one, other))

    def check_table(self, daemon, number, posted):
        """Each row of a sweep that has ended, as JSON and as CSV."""
        shown = daemon.get(f"/v1/sweeps/{number}")
        answer = daemon.expect(200, "GET", f"/v1/sweeps/{number}", headers={"Accept": "text/csv"})
        lines = list(csv.DictReader(io.StringIO(answer.body.decode())))
        self.assertEqual(len(lines), len(shown["rows"]))
        seeds = posted["grid"].get("/seed", [1])
        for row, line in zip(shown["rows"], lines):
            jobs = [self.measured(daemon, one) for one in row["jobs"]]
            self.assertEqual([one["spec"]["seed"] for one in jobs], seeds)
            good = [one for one in jobs if one["state"] == "succeeded"]
            self.assertEqual((row["seeds"], row["succeeded"]), (len(seeds), len(good)))
            self.assertEqual(line["label"], row["label"])
            for pointer, value in row["values"].items():
                self.assertIn(value, posted["grid"][pointer])
                if not isinstance(value, str):
                    self.assertEqual(json.loads(line[pointer]), value)
                self.check_value(jobs, pointer, value, row["values"])
            for name in MEASURES:
                values = [one[name] for one in good]
                self.assertEqual(row[name]["n"], len(values))
                self.near(row[name]["mean"], statistics.mean(values), name)
                self.near(row[name]["std"], statistics.stdev(values), name)
                self.near(float(line[name + "_mean"]), row[name]["mean"], name)
                self.near(float(line[name + "_std"]), row[name]["std"], name)
        return shown

    def check_value(self, jobs, pointer, value, values):
        """That the row's jobs were trained with it, as far as no inner pointer changes it."""
        for one in jobs:
            found = one["spec"]
            for name in pointer.split("/")[1:]:
                found = found[name]
            if not isinstance(value, dict):
                self.assertEqual(found, value)
                continue
            for name, item in value.items():
                if f"{pointer}/{name}" not in values:
                    self.assertEqual(found[name], item)

    def figure(self, name):
        with open(os.path.join(FIGURES, name + ".json"), encoding="utf-8") as file:
            return json.load(file)

    @unittest.skipIf(support.SLOW > 1, "trains for minutes where the program is slow")
    def test_the_figures_on_digits(self):
        """Those of training alone, as they are but for their length."""
        daemon = self.start("--workers", "2")
        bodies = []
        for number in (2, 3, 4):
            body = self.figure(f"figure{number}")
            body["job"]["epochs"] = 1
            body["job"]["dataset"]["train_limit"] = 100
            body["grid"]["/seed"] = [5, 6]
            if "/method/sigma" in body["grid"]:
                body["grid"]["/method/sigma"] = body["grid"]["/method/sigma"][:2]
            bodies.append((daemon.post("/v1/sweeps", body, 201)["id"], body))
        for number, body in bodies:
            self.assertEqual(self.wait_end(daemon, number)["state"], "succeeded")
            self.check_table(daemon, number, body)
        listed = daemon.get("/v1/sweeps")["sweeps"]
        self.assertEqual([one["name"] for one in listed], ["figure 4", "figure 3", "figure 2"])

    def check_probes(self, daemon, row, line):
        """The row's statistics of its jobs' probes, from those themselves."""
        jobs = [{one["kind"]: one["summary"] for one in daemon.get(f"/v1/jobs/{job}/probes")["probes"]}
                for job in row["jobs"]]
        self.assertEqual(set(row["probes"]), set(jobs[0]))
        for kind, columns in row["probes"].items():
            self.assertEqual(set(columns), set(jobs[0][kind]))
            for name, found in columns.items():
                values = [job[kind][name] for job in jobs if isinstance(job[kind][name], (int, float))]
                self.assertEqual(found["n"], len(values))
                if values:
                    self.near(found["mean"], statistics.mean(values), name)
                    self.near(float(line[f"{kind}_{name}_mean"]), found["mean"], name)
                if len(values) > 1:
                    self.near(found["std"], statistics.stdev(values), name)

    def test_the_figures_with_probes(self):
        daemon = self.start("--workers", "2")
        bodies = {}
        for number in (1, 5):
            body = self.figure(f"figure{number}")
            body["job"].update(epochs=1, batch_size=10,
                               model={"kind": "resnet", "width": 2, "blocks": [1, 1]},
                               dataset={"kind": "digits", "train_limit": 20})
            for probe in body["job"]["probes"]:
                probe.update(every_epochs=1, samples=10)
                for name, few in {"steps": 6, "points": 2, "draws": 2, "trace_draws": 2}.items():
                    if name in {"spectrum": ("steps", "trace_draws"), "radius": ("points", "draws"),
                                "sharpness": ("draws",)}.get(probe["kind"], ()):
                        probe[name] = few
                for axis in ("x", "y"):
                    probe.get(axis, {}).update(points=2)
            body["grid"]["/method"] = body["grid"]["/method"][:2]
            body["grid"]["/seed"] = [1, 2]
            bodies[daemon.post("/v1/sweeps", body, 201)["id"]] = body
        for number, body in bodies.items():
            probes = 4 * len(body["job"]["probes"])
            shown = self.sweep(daemon, number, lambda shown: shown["probes"]["succeeded"]
                               + shown["probes"]["failed"] == probes)
            self.assertEqual(shown["probes"]["failed"], 0, daemon.log()[-3000:])
            answer = daemon.expect(200, "GET", f"/v1/sweeps/{number}?format=csv")
            lines = list(csv.DictReader(io.StringIO(answer.body.decode())))
            for row, line in zip(shown["rows"], lines):
                self.check_probes(daemon, row, line)

    def test_the_figures_on_cifar_are_jobs(self):
        """Whoever has the data changes the path; all else must be right."""
        daemon = self.start()
        for number in range(1, 6):
            answer = daemon.post("/v1/sweeps", self.figure(f"figure{number}-cifar10"), 422)
            self.assertEqual([error["pointer"] for error in answer["errors"]], ["/job/dataset/path"])

    def test_failed_and_cancelled_jobs_do_not_count(self):
        daemon = self.start()
        body = {"job": base(epochs=4, priority=1),
                "grid": {"/optimizer": [{"kind": "sgd", "lr": 0.1}, {"kind": "sgd", "lr": 1e9}],
                         "/seed": [1, 2]}}
        number = daemon.post("/v1/sweeps", body, 201)["id"]
        shown = self.wait_end(daemon, number)
        self.assertEqual(shown["state"], "failed")
        self.assertEqual(shown["jobs"]["failed"], 2)
        self.assertIsNotNone(shown["finished_at"])
        good, bad = shown["rows"]
        self.assertEqual((good["succeeded"], good["failed"]), (2, 0))
        self.assertEqual((bad["succeeded"], bad["failed"]), (0, 2))
        self.assertEqual(bad["train_loss"], {"mean": None, "std": None, "n": 0})
        self.assertEqual(good["train_loss"]["n"], 2)

    def test_only_so_many_run(self):
        daemon = self.start("--workers", "4", "--threads", "4")
        body = {"job": long_job("m-rwp"), "max_running": 2, "grid": {"/seed": [1, 2, 3, 4]}}
        number = daemon.post("/v1/sweeps", body, 201)["id"]
        shown = self.wait_counts(daemon, number, running=2, queued=2)
        self.assertEqual(shown["state"], "running")
        # Workers are free: another job is trained meanwhile, and the sweep is as it was.
        daemon.wait(daemon.submit(job()))
        self.wait_counts(daemon, number, running=2, queued=2)
        first = shown["rows"][0]["jobs"][0]
        self.assertEqual(daemon.job(first)["sweep"], {"id": number, "point": 1})
        daemon.post(f"/v1/jobs/{first}/cancel")
        self.wait_counts(daemon, number, running=2, queued=1, cancelled=1)
        daemon.kill()
        daemon = self.start("--workers", "4", "--threads", "4")
        self.wait_counts(daemon, number, running=2, queued=1, cancelled=1)
        daemon.stop()
        daemon = self.start("--workers", "4", "--threads", "4")
        self.wait_counts(daemon, number, running=2, queued=1, cancelled=1)
        self.assertEqual(daemon.post(f"/v1/sweeps/{number}/pause")["result"], "pausing")
        shown = self.wait_counts(daemon, number, paused=3)
        self.assertEqual(shown["state"], "paused")
        self.assertEqual(daemon.post(f"/v1/sweeps/{number}/resume")["result"], "queued")
        self.wait_counts(daemon, number, running=2, queued=1)
        # Right after each other, whatever the running ones have seen of it.
        for action in ("pause", "resume"):
            daemon.post(f"/v1/sweeps/{number}/{action}")
        self.wait_counts(daemon, number, running=2, queued=1)
        self.sweep(daemon, number, lambda shown: all(
            daemon.job(one)["wish"] is None for one in shown["rows"][0]["jobs"]))
        self.wait_counts(daemon, number, running=2, queued=1)
        self.assertEqual(daemon.post(f"/v1/sweeps/{number}/cancel")["result"], "cancelling")
        shown = self.wait_counts(daemon, number, cancelled=4)
        self.assertEqual(shown["state"], "cancelled")
        daemon.post(f"/v1/sweeps/{number}/cancel", None, 409)

    def test_a_kill_in_the_middle_shows_in_nothing(self):
        body = {"name": "twice", "job": base(),
                "grid": {"/method/sigma": [0.05, 0.15], "/seed": [1, 2, 3]}}
        daemon = self.start("--threads", "1")
        first = daemon.post("/v1/sweeps", body, 201)["id"]
        self.wait_end(daemon, first)
        second = daemon.post("/v1/sweeps", body, 201)["id"]
        self.sweep(daemon, second, lambda shown: shown["jobs"]["succeeded"] >= 2)
        daemon.kill()
        daemon = self.start("--threads", "1")
        self.wait_end(daemon, second)
        before, after = (self.check_table(daemon, number, body) for number in (first, second))
        for one, other in zip(before["rows"], after["rows"]):
            for name in MEASURES[:-1]:
                self.assertEqual(one[name], other[name])
        names = [one["name"] for one in daemon.jobs(f"?sweep={second}")]
        self.assertEqual(names[-1], "twice: sigma 0.05, seed 1")
        self.assertEqual(len(names), 6)

    def test_all_or_nothing(self):
        daemon = self.start("--queue-limit", "5")
        body = {"job": long_job(), "grid": {"/seed": [1, 2, 3, 4, 5, 6]}}
        answer = daemon.post("/v1/sweeps", body, 429)
        self.assertIn("no room for 6", answer["detail"])
        body["grid"]["/seed"] = [1, 2, 3, -4]
        answer = daemon.post("/v1/sweeps", body, 422)
        self.assertEqual(answer["errors"], [{"pointer": "/grid/~1seed/3", "detail":
                                             "point 4: must be at least 0 and at most "
                                             "9007199254740991"}])
        self.assertEqual(daemon.jobs(), [])
        self.assertEqual(daemon.get("/v1/sweeps")["sweeps"], [])


if __name__ == "__main__":
    support.run_tests()
