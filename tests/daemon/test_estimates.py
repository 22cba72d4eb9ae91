#!/usr/bin/env python3
"""What a job is forecast to take when it is submitted, and what it then takes."""

import os

import support
from support import job


class Estimate(support.Case):
    def rss(self, daemon, name):
        with open(f"/proc/{daemon.process.pid}/status") as file:
            line, = [line for line in file if line.startswith(name + ":")]
        return int(line.split()[1]) * 1024

    def test_memory_is_what_it_then_takes(self):
        daemon = self.start()
        for made in (job("sgd", 2), job("m-arwp", 2, batch_size=50, telemetry={"every_updates": 3}),
                     job("sam", 2, device="reference")):
            answer = daemon.post("/v1/jobs", made, 201)
            said = answer["estimate"]["memory_bytes"]
            self.assertEqual(set(answer["measured"].values()), {None})
            shown = daemon.wait(answer["id"])
            self.assertEqual(shown["estimate"], answer["estimate"])  # kept, not made anew
            took = shown["measured"]["memory_bytes"]
            self.assertEqual((shown["measured"]["device"], shown["measured"]["precision"]),
                             (shown["facts"]["device"], shown["facts"]["precision"]))
            self.assertLess(abs(said - took), 0.15 * took)
            self.assertAlmostEqual(shown["measured"]["seconds_per_update"],
                                   shown["seconds"] / shown["updates_done"], 9)
            listed, = [one for one in daemon.jobs() if one["id"] == answer["id"]]
            self.assertEqual(listed["estimate"], answer["estimate"])
            self.assertEqual(listed["measured"], shown["measured"])

    def test_the_process_grows_by_what_was_forecast(self):
        if os.environ.get("RWPD_TEST_SLOW"):
            self.skipTest("a sanitizer's own memory comes on top")
        daemon = self.start()
        # Brings in what stays: threads, code, the database's pages.
        daemon.wait(daemon.submit(job("m-rwp", 1)))
        large = job("sgd", epochs=0, updates=2, batch_size=700,
                    model={"kind": "resnet", "width": 64, "blocks": [1, 1]},
                    dataset={"kind": "digits"}, checkpoint={"every_epochs": 0})
        before = self.rss(daemon, "VmRSS")
        answer = daemon.post("/v1/jobs", large, 201)
        daemon.wait(answer["id"])
        grown, said = self.rss(daemon, "VmHWM") - before, answer["estimate"]["memory_bytes"]
        self.assertGreater(said, 60e6)
        self.assertGreater(grown, 0.85 * said)
        self.assertLess(grown, 1.15 * said + 20e6)

    def test_time_is_forecast_measured_and_forecast_from_that(self):
        daemon = self.start()
        long = {"checkpoint": {"every_epochs": 0}, "evaluate": {"every_epochs": 100}}
        first = daemon.post("/v1/jobs", job("sgd", 400, **long), 201)
        estimate = first["estimate"]
        self.assertEqual(estimate["basis"], "timed")
        for what in ("seconds_per_update", "evaluation_seconds"):
            self.assertGreater(estimate[what], 0)
        self.assertAlmostEqual(estimate["seconds"],
                               2000 * estimate["seconds_per_update"] +
                               4 * estimate["evaluation_seconds"], 6)
        # Only a run of some seconds says more than a look.
        shown = daemon.wait(first["id"])
        again = daemon.post("/v1/jobs", job("sgd", 400, seed=9, **long), 201)
        if shown["seconds"] >= 1:
            self.assertEqual(again["estimate"]["basis"], "an earlier run")
            self.assertAlmostEqual(again["estimate"]["seconds_per_update"],
                                   shown["measured"]["seconds_per_update"], 9)
        else:
            self.assertEqual(again["estimate"], estimate)

    def test_large_jobs_are_answered_soon(self):
        """Those whose update takes longer than an answer may: what is timed is a part of them."""
        daemon = self.start()
        waiting = daemon.submit(support.long_job())
        daemon.wait(waiting, "running")
        large = job("m-arwp", batch_size=1000, model={"kind": "resnet18", "width": 128},
                    dataset={"kind": "digits"})
        estimate = daemon.post("/v1/jobs", large, 201)["estimate"]
        self.assertGreater(estimate["memory_bytes"], 1e9)
        self.assertGreater(estimate["seconds_per_update"], 0.1)
        daemon.post("/v1/jobs/1/cancel", None, 200)
        daemon.post("/v1/jobs/2/cancel", None, 200)


if __name__ == "__main__":
    support.run_tests()
