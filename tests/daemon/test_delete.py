#!/usr/bin/env python3
"""Deleting on a real daemon: what is refused, what is gone, what a kill leaves, and the disk."""

import os
import sqlite3
import time

import support
from support import job, long_job

PLACES = ("", "/losses", "/epochs", "/telemetry", "/events", "/checkpoints", "/checkpoints/latest",
          "/checkpoints/20", "/probes", "/probes/1", "/probes/1/tables/summary", "/probes/1/vectors")


class Delete(support.Case):
    def delete(self, daemon, number, status=204):
        return daemon.expect(status, "DELETE", f"/v1/jobs/{number}")

    def assert_gone(self, daemon, number):
        for place in PLACES:
            daemon.get(f"/v1/jobs/{number}{place}", 404)
        for action in ("cancel", "pause", "resume"):
            daemon.post(f"/v1/jobs/{number}/{action}", status=404)
        daemon.post(f"/v1/jobs/{number}/probes", {"kind": "sharpness"}, 404)
        self.assertNotIn(number, [shown["id"] for shown in daemon.jobs()])
        self.delete(daemon, number, 404)

    def rows(self, name, text):
        with sqlite3.connect(os.path.join(self.folder, "state", name), timeout=60) as file:
            return file.execute(text).fetchone()[0]

    def wait_removed(self, daemon):
        """Until nothing is left of what deleted jobs have recorded."""
        while self.rows("rwpd.db", "SELECT count(*) FROM job WHERE state < 0"):
            self.assertIsNone(daemon.process.poll())
            time.sleep(0.02)

    def test_what_has_not_ended_is_refused(self):
        daemon = self.start("--workers", "1")
        running = daemon.submit(long_job())
        daemon.wait_update(running, 1)
        queued = daemon.submit(job())
        for number, state in ((running, "running"), (queued, "queued")):
            problem = self.delete(daemon, number, 409).json()
            self.assertEqual(problem["detail"], f"job {number} is {state}: cancel it first")
        daemon.post(f"/v1/jobs/{running}/pause")
        daemon.wait(running, "paused")
        self.assertIn("paused: cancel it first", self.delete(daemon, running, 409).json()["detail"])
        daemon.wait(queued)
        self.delete(daemon, 99, 404)
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            self.assertIn(daemon.request("DELETE", f"/v1/jobs/{queued}", headers=headers).status,
                          (403, 421))
        daemon.job(queued)

    def test_all_of_it_is_gone_and_streams_tell(self):
        daemon = self.start()
        kept = daemon.submit(job("m-arwp", 4))
        spec = job("m-arwp", 4, probes=[{"kind": "sharpness"}])
        key = {"Idempotency-Key": "mine"}
        number = daemon.submit(spec, headers=key)
        for one in (kept, number):
            daemon.wait(one)
        for _ in support.Events(daemon, f"/v1/jobs/{number}/events"):
            pass  # until its probe has ended, too
        before = {one: (daemon.losses(one), daemon.epochs(one), daemon.checkpoint(one))
                  for one in (kept, number)}
        stream = support.Events(daemon, "/v1/events")
        self.assertEqual(next(stream)["event"], "start")
        self.assertEqual(self.delete(daemon, number).body, b"")
        event = next(stream)
        self.assertEqual((event["event"], event["data"]["job"]), ("deleted", number))
        stream.close()
        self.assert_gone(daemon, number)
        self.assertIn('rwpd_http_requests_total{route="/v1/jobs/{id}",method="DELETE",status="204"} 1',
                      daemon.expect(200, "GET", "/metrics").body.decode())
        self.wait_removed(daemon)
        self.assertEqual(self.rows("checkpoints.db",
                                   f"SELECT count(*) FROM checkpoint WHERE job IN (0, {number})"), 0)
        daemon.kill()
        daemon = self.start()
        self.assert_gone(daemon, number)
        self.assertEqual((daemon.losses(kept), daemon.epochs(kept), daemon.checkpoint(kept)),
                         before[kept])
        # The key is free, the number is not; and it trains to the same end.
        again = daemon.submit(spec, headers=key)
        self.assertEqual(again, number + 1)
        daemon.wait(again)
        self.assertEqual(support.without_times(daemon.losses(again)),
                         support.without_times(before[number][0]))

    def test_what_others_need_is_refused(self):
        daemon = self.start("--workers", "1")
        source = daemon.submit(job("rwp", 2))
        daemon.wait(source)
        running = daemon.submit(long_job(priority=9))
        daemon.wait_update(running, 1)
        follower = daemon.submit(job("rwp", 1, init_from={"job": source}))
        self.assertEqual(self.delete(daemon, source, 409).json()["detail"],
                         f"job {follower} is to begin with a checkpoint of job {source}")
        daemon.post(f"/v1/jobs/{follower}/cancel")
        asked = daemon.post(f"/v1/jobs/{source}/probes", {"kind": "sharpness"}, 201)["number"]
        self.assertIn(f"has probe {asked}", self.delete(daemon, source, 409).json()["detail"])
        daemon.post(f"/v1/jobs/{source}/probes/{asked}/cancel")
        self.delete(daemon, source)
        errors = daemon.post("/v1/jobs", job("rwp", 1, init_from={"job": source}), 422)["errors"]
        self.assertEqual(errors[0]["detail"], f"there is no job {source}")

    def test_a_kill_right_behind_the_answer(self):
        daemon = self.start()
        numbers = [daemon.submit(job("rwp", 4)) for _ in range(3)]
        for number in numbers:
            daemon.wait(number)
        for number in numbers[:2]:
            self.delete(daemon, number)
        daemon.kill()
        daemon = self.start()
        for number in numbers[:2]:
            self.assert_gone(daemon, number)
        self.wait_removed(daemon)
        for name in ("rwpd.db", "checkpoints.db"):
            self.assertEqual(self.rows(name, "PRAGMA integrity_check"), "ok")
        self.assertEqual(self.rows("checkpoints.db", "SELECT min(job) FROM checkpoint"), numbers[2])
        self.assertEqual(self.rows("rwpd.db", "SELECT min(job) FROM loss"), numbers[2])

    def test_the_space_is_used_again(self):
        daemon = self.start()
        spec = job("rwp", 1, model={"kind": "resnet", "width": 32, "blocks": [1, 1]})
        sizes = []
        for _ in range(3):
            number = daemon.submit(spec)
            daemon.wait(number)
            self.delete(daemon, number)
            self.wait_removed(daemon)
            sizes.append(os.path.getsize(os.path.join(self.folder, "state", "checkpoints.db")))
        self.assertLess(sizes[-1], 1.5 * sizes[0], sizes)

    def test_a_sweep_goes_as_a_whole(self):
        daemon = self.start()
        base = job("rwp", 1)
        del base["name"]
        sweep = daemon.post("/v1/sweeps", {"name": "s", "job": base, "grid": {"/seed": [1, 2, 3]}}, 201)
        path, last = f"/v1/sweeps/{sweep['id']}", 3
        for number in range(1, last + 1):
            daemon.wait(number)
        self.assertIn("only be deleted as a whole", self.delete(daemon, last, 409).json()["detail"])
        daemon.expect(204, "DELETE", path)
        daemon.expect(404, "DELETE", path)
        daemon.get(path, 404)
        for number in range(1, last + 1):
            self.assert_gone(daemon, number)
        self.assertEqual(daemon.get("/v1/sweeps")["sweeps"], [])
        waiting = daemon.post("/v1/sweeps", {"job": {**base, "epochs": 100000}, "grid": {"/seed": [1]}},
                              201)["id"]
        self.assertEqual(waiting, sweep["id"] + 1)
        answer = daemon.expect(409, "DELETE", f"/v1/sweeps/{waiting}").json()
        self.assertIn("cancel the sweep first", answer["detail"])
        daemon.post(f"/v1/sweeps/{waiting}/cancel")


if __name__ == "__main__":
    support.run_tests()
