#!/usr/bin/env python3
"""Probes of real jobs: asked for with the job or later, cancelled, stopped, killed in the middle.

A spectrum that was killed at random and resumed has the numbers, to the last bit, of one that
nobody disturbed. SEED=n repeats the choices of an earlier run.
"""

import os
import random
import struct
import sys
import time

import support
from support import job, long_job, slow_job

SEED = int(os.environ.get("SEED", str(random.SystemRandom().randrange(10 ** 6))))
KILLS = 4 if support.SLOW <= 1 else 2
SPECTRUM = {"kind": "spectrum", "runs": 2, "steps": 40 if support.SLOW <= 1 else 8, "trace_draws": 12,
            "top_k": 3, "samples": 100, "save_vectors": True}


def write_idx(folder):
    """A small MNIST: 40 and 20 images of 8×8 pixels."""
    os.makedirs(folder)
    for name, n in (("train", 40), ("t10k", 20)):
        with open(os.path.join(folder, name + "-images-idx3-ubyte"), "wb") as file:
            file.write(struct.pack(">IIII", 0x803, n, 8, 8) + bytes(place * 37 % 251 for place in range(n * 64)))
        with open(os.path.join(folder, name + "-labels-idx1-ubyte"), "wb") as file:
            file.write(struct.pack(">II", 0x801, n) + bytes(place % 10 for place in range(n)))


def trained(**changes):
    """A job that is over at once, whose probes are the reference's."""
    return job(**{"epochs": 4, "device": "reference", **changes})


class Probes(support.Case):
    def ask(self, daemon, number, body, status=201, **more):
        return daemon.post(f"/v1/jobs/{number}/probes", body, status, **more)

    def probe(self, daemon, number, probe):
        return daemon.get(f"/v1/jobs/{number}/probes/{probe}")

    def wait_until(self, daemon, number, probe, happened, seconds=180):
        end = time.monotonic() + seconds * support.SLOW
        while True:
            shown = self.probe(daemon, number, probe)
            if happened(shown):
                return shown
            if time.monotonic() > end:
                raise support.Failure(f"waited for {shown}\n{daemon.log()[-3000:]}")
            time.sleep(0.01)

    def wait(self, daemon, number, probe, state="succeeded"):
        shown = self.wait_until(daemon, number, probe, lambda shown: shown["state"] in support.ENDED)
        self.assertEqual(shown["state"], state, shown)
        return shown

    def result(self, daemon, number, probe):
        """All that it says, as text."""
        shown = self.wait(daemon, number, probe)
        said = {table["name"]: daemon.expect(200, "GET", table["url"] + "?format=csv").body
                for table in shown["tables"]}
        for table in shown["tables"]:
            self.assertEqual(said[table["name"]].count(b"\n") - 1, table["rows"])
        if shown["vectors"]:
            tensors = support.read_safetensors(daemon.expect(200, "GET", shown["vectors"]).body)
            said.update({"vector " + name: about for name, about in tensors.items()})
        return {**said, "summary": shown["summary"], "message": shown["message"],
                "request": shown["request"]}

    def rows(self, shown):
        return sum(table["rows"] for table in shown["tables"])

    # ---- asked for ----

    def test_asked_for_later(self):
        daemon = self.start()
        number = daemon.submit(trained())
        daemon.wait(number)
        made = self.ask(daemon, number, {"kind": "sharpness"}, headers={"Idempotency-Key": "a"})
        again = self.ask(daemon, number, {"kind": "sharpness"}, 200, headers={"Idempotency-Key": "a"})
        self.assertEqual((made["number"], again["number"]), (1, 1))
        self.assertEqual((made["update"], made["request"]["update"], made["planned"]), (20, 20, False))
        shown = self.wait(daemon, number, 1)
        epochs = daemon.epochs(number)
        on_test = self.ask(daemon, number, {"kind": "landscape", "split": "test", "samples": 0,
                                            "x": {"from": 0, "to": 1, "points": 1}})["number"]
        landscape = self.wait(daemon, number, on_test)["summary"]
        # What the job itself has measured of that checkpoint.
        self.assertAlmostEqual(landscape["loss"], epochs[-1]["test_loss"], places=9)
        self.assertAlmostEqual(landscape["top1"], epochs[-1]["test_top1"], places=9)
        self.assertGreater(shown["summary"]["worst_loss"], shown["summary"]["loss"])
        self.assertEqual([one["number"] for one in daemon.get(f"/v1/jobs/{number}/probes")["probes"]],
                         [2, 1])
        self.assertRegex(daemon.expect(200, "GET", "/metrics").body.decode(),
                         r'\nrwpd_probes\{state="succeeded"\} 2\n')

    def test_what_cannot_be_is_refused(self):
        daemon = self.start()
        number = daemon.submit(trained(checkpoint={"keep": 1}))
        daemon.wait(number)
        for body, pointers in (({"kind": "sharpness", "update": 5}, ["/update"]),
                               ({"kind": "spectrum", "top_k": 50, "steps": 20}, ["/top_k"]),
                               ({"kind": "spectrum", "start": "given", "runs": 1, "upload": 9}, ["/upload"]),
                               ({"kind": "landscape", "x": {"direction": "line"},
                                 "other": {"job": 77}}, ["/other/job"]),
                               ({"kind": "landscape", "x": {"direction": "line"},
                                 "other": {"update": 5}}, ["/other/update"]),
                               ({"kind": "sharpness", "rho": -1, "adaptive": True},
                                ["/rho", "/adaptive"])):
            answer = self.ask(daemon, number, body, 422)
            self.assertEqual([error["pointer"] for error in answer["errors"]], pointers, answer)
        answer = daemon.post("/v1/jobs", trained(probes=[{"kind": "radius"},
                                                         {"kind": "spectrum", "top_k": 50, "steps": 20},
                                                         {"kind": "landscape", "x": {"direction": "given"},
                                                          "upload": 3}]), 422)
        self.assertEqual([error["pointer"] for error in answer["errors"]], ["/probes/1/top_k"])
        answer = daemon.post("/v1/jobs", trained(probes=[{"kind": "landscape", "upload": 3,
                                                          "x": {"direction": "given"}}]), 422)
        self.assertEqual([error["pointer"] for error in answer["errors"]], ["/probes/0/upload"])
        answer = daemon.post("/v1/jobs", trained(epochs=5000, probes=[{"kind": "radius", "every_epochs": 3}]),
                             422)
        self.assertEqual([error["pointer"] for error in answer["errors"]], ["/probes/0/every_epochs"])

    def test_without_a_checkpoint(self):
        daemon = self.start()
        number = daemon.submit(slow_job())
        self.assertIn("no checkpoint", self.ask(daemon, number, {"kind": "radius"}, 409)["detail"])
        daemon.kill()

    # ---- a job's own ----

    def test_a_jobs_own(self):
        daemon = self.start("--workers", "2")
        number = daemon.submit(trained(epochs=5, checkpoint={"every_epochs": 0, "every_seconds": 0, "keep": 1},
                                       probes=[{"kind": "sharpness", "every_epochs": 2, "draws": 2},
                                               {"kind": "landscape", "every_epochs": 4,
                                                "x": {"points": 3}}]))
        events = list(support.Events(daemon, f"/v1/jobs/{number}/events?last_event_id=0"))
        # The stream ends with the last of them.
        shown = daemon.get(f"/v1/jobs/{number}/probes")["probes"]
        self.assertEqual({one["state"] for one in shown}, {"succeeded"}, shown)
        self.assertEqual([(one["kind"], one["update"]) for one in reversed(shown)],
                         [("sharpness", 10), ("sharpness", 20), ("landscape", 20),
                          ("sharpness", 25), ("landscape", 25)])
        self.assertTrue(all(one["planned"] for one in shown))
        states = [(event["data"]["number"], event["data"]["state"]) for event in events
                  if event["event"] == "probe"]
        self.assertEqual(sorted(states), sorted((one, state) for one in range(1, 6) for state in
                                                ("queued", "running", "succeeded")))
        # The same as asked for by itself.
        again = self.ask(daemon, number, {"kind": "sharpness", "draws": 2})["number"]
        mine, theirs = (self.result(daemon, number, one) for one in (again, shown[1]["number"]))
        self.assertEqual(mine, theirs)
        # What was kept for them alone has gone.
        end = time.monotonic() + 60 * support.SLOW
        while len(daemon.checkpoints(number)) > 1 and time.monotonic() < end:
            time.sleep(0.01)
        self.assertEqual([one["update"] for one in daemon.checkpoints(number)], [25])

    def test_lines_of_a_jobs_own_end_at_checkpoints_that_are_kept(self):
        daemon = self.start()
        keep = {"every_epochs": 1, "every_seconds": 0, "keep": 1}
        source = daemon.submit(trained(epochs=5, checkpoint=keep))
        line = {"kind": "landscape", "every_epochs": 5, "samples": 20,
                "x": {"direction": "line", "points": 3, "from": 0, "to": 1}}
        answer = daemon.post("/v1/jobs", trained(epochs=5, checkpoint=keep, probes=[
            {**line, "other": {"update": 3}}, {**line, "every_epochs": 1, "other": {"update": 20}}]),
                             422)
        self.assertEqual([error["pointer"] for error in answer["errors"]],
                         ["/probes/0/other/update", "/probes/1/other/update"])
        daemon.wait(source)
        number = daemon.submit(trained(epochs=5, seed=2, checkpoint=keep, probes=[
            {**line, "other": {"update": 5}}, {**line, "other": {"job": source}}]))
        daemon.wait(number)
        for probe in (1, 2):
            shown = self.wait(daemon, number, probe)
            self.assertEqual(shown["request"]["other"],
                             {"job": number, "update": 5, "upload": 0} if probe == 1
                             else {"job": source, "update": 25, "upload": 0})

    def test_vectors_are_taken_away_and_given(self):
        daemon = self.start()
        number = daemon.submit(trained(device="auto"))
        daemon.wait(number)
        random_axes = {"x": {"points": 3}, "y": {"direction": "random", "points": 2}}
        made = self.ask(daemon, number, {"kind": "landscape", "save_vectors": True, **random_axes})["number"]
        first = self.result(daemon, number, made)
        file = daemon.expect(200, "GET", f"/v1/jobs/{number}/probes/{made}/vectors").body
        upload = daemon.expect(201, "POST", "/v1/uploads", body=file,
                               headers={"Content-Type": "application/octet-stream"}).json()["id"]
        given_axes = {axis: {**about, "direction": "given", "normalise": "none"}
                      for axis, about in random_axes.items()}
        given = self.ask(daemon, number, {"kind": "landscape", "upload": upload, **given_axes})["number"]
        second = self.result(daemon, number, given)
        self.assertEqual(first["points"], second["points"])
        daemon.expect(204, "DELETE", f"/v1/uploads/{upload}")
        self.ask(daemon, number, {"kind": "landscape", "upload": upload, **given_axes}, 422)

    # ---- cancelled, failed, stopped ----

    def test_cancelled(self):
        daemon = self.start()
        number = daemon.submit(trained())
        daemon.wait(number)
        endless = {"kind": "sharpness", "draws": 10000, "samples": 0}
        for one in (1, 2):
            self.ask(daemon, number, endless)
        self.assertEqual(daemon.post(f"/v1/jobs/{number}/probes/2/cancel")["result"], "cancelled")
        self.wait_until(daemon, number, 1, lambda shown: self.rows(shown) > 0)
        answer = daemon.post(f"/v1/jobs/{number}/probes/1/cancel")
        self.assertEqual(answer["result"], "cancelling")
        shown = self.wait(daemon, number, 1, "cancelled")
        self.assertGreater(self.rows(shown), 0)
        self.assertLess(shown["progress"], 1)
        for one in (1, 2):
            daemon.post(f"/v1/jobs/{number}/probes/{one}/cancel", status=409)

    def test_data_that_cannot_be_read(self):
        folder = os.path.join(self.folder, "data")
        write_idx(folder)
        daemon = self.start()
        number = daemon.submit(trained(dataset={"kind": "idx", "path": folder}, batch_size=10))
        daemon.wait(number)
        os.rename(folder, folder + " away")
        self.ask(daemon, number, {"kind": "landscape", "x": {"points": 3}})
        self.assertIn(folder, self.wait(daemon, number, 1, "failed")["reason"])
        os.rename(folder + " away", folder)
        self.ask(daemon, number, {"kind": "landscape", "x": {"points": 3}})
        self.wait(daemon, number, 2)

    def truth(self, daemon, number):
        """A spectrum that takes long enough to be met in the middle, and what it comes to."""
        spectrum = dict(SPECTRUM)
        while True:
            begin = time.monotonic()
            made = self.ask(daemon, number, spectrum)["number"]
            result = self.result(daemon, number, made)
            took = time.monotonic() - begin
            if took > 1.5 or spectrum["runs"] == 64:
                return spectrum, result, self.rows(self.probe(daemon, number, made))
            spectrum["runs"] = min(64, 1 + int(spectrum["runs"] * 2 / took))

    def test_stopped_and_killed(self):
        daemon = self.start()
        number = daemon.submit(trained(device="auto", model={"kind": "resnet", "width": 8, "blocks": [1, 1]}))
        daemon.wait(number)
        spectrum, truth, whole = self.truth(daemon, number)
        told = spectrum["runs"] * spectrum["steps"] + spectrum["trace_draws"]
        draw = random.Random(SEED)
        print(f"seed {SEED}: killed at", file=sys.stderr, end="")
        probe = self.ask(daemon, number, spectrum)["number"]
        for place in range(KILLS):
            moment = draw.randrange(1 + place * told // KILLS, (place + 1) * told // KILLS)
            shown = self.wait_until(daemon, number, probe, lambda shown: self.rows(shown) >= moment
                                    or shown["state"] in support.ENDED)
            before = self.rows(shown)
            print(f" {before}", file=sys.stderr, end="")
            if place % 2:
                daemon.stop()
                self.assertNotIn("failed", daemon.log())
            else:
                daemon.kill()
            daemon = self.start()
            self.assertGreaterEqual(self.rows(self.probe(daemon, number, probe)), before)
        print(f" of {told} rows", file=sys.stderr)
        self.assertEqual(self.result(daemon, number, probe), truth)
        shown = self.probe(daemon, number, probe)
        self.assertEqual(self.rows(shown), whole)
        self.assertGreater(shown["starts"], 1)

    def test_a_job_that_is_killed_has_each_of_its_probes_once(self):
        epochs = 12 if support.SLOW <= 1 else 5
        spec = trained(epochs=epochs, probes=[{"kind": "sharpness", "every_epochs": 1, "draws": 1, "samples": 20}],
                       checkpoint={"every_epochs": 0, "every_seconds": 0, "keep": 1})
        draw = random.Random(SEED)
        daemon = self.start()
        truth = daemon.submit(spec)
        list(support.Events(daemon, f"/v1/jobs/{truth}/events?last_event_id=0"))
        number = daemon.submit(spec)
        for epoch in sorted(draw.randrange(1, epochs) for _ in range(KILLS)):
            while (shown := daemon.job(number))["epoch"] < epoch and shown["state"] != "failed":
                time.sleep(0.005)
            daemon.kill()
            daemon = self.start()
        daemon.wait(number)
        list(support.Events(daemon, f"/v1/jobs/{number}/events?last_event_id=0"))
        one, other = (daemon.get(f"/v1/jobs/{which}/probes")["probes"] for which in (truth, number))
        self.assertEqual([(probe["update"], probe["summary"], probe["state"]) for probe in one],
                         [(probe["update"], probe["summary"], probe["state"]) for probe in other])
        self.assertEqual(len(one), epochs)

    def test_probes_come_before_jobs(self):
        daemon = self.start()
        number = daemon.submit(trained())
        daemon.wait(number)
        running = daemon.submit(long_job())
        daemon.wait_update(running, 1)
        later = daemon.submit(trained())
        urgent = daemon.submit(trained(priority=1))
        self.ask(daemon, number, {"kind": "sharpness"})
        daemon.post(f"/v1/jobs/{running}/cancel")
        daemon.wait(later)
        self.wait(daemon, number, 1)
        log = daemon.log()
        places = [log.index(f"job {urgent}: succeeded"), log.index(f"probe 1 of job {number}: succeeded"),
                  log.index(f"job {later}: succeeded")]
        self.assertEqual(places, sorted(places))


if __name__ == "__main__":
    support.run_tests()
