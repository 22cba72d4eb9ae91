#!/usr/bin/env python3
"""Pausing, resuming, cancelling: in every state, over restarts, and just when a job ends."""

import random
import threading
import time

import support
from support import job, long_job, slow_job


class Control(support.Case):
    def act(self, daemon, number, action, status=200):
        return daemon.post(f"/v1/jobs/{number}/{action}", status=status)

    def done(self, daemon, number, action, result):
        answer = self.act(daemon, number, action)
        self.assertEqual(answer["result"], result)
        return answer["job"]

    def refused(self, daemon, number, action, *words):
        answer = self.act(daemon, number, action, 409)
        for word in words:
            self.assertIn(word, answer["detail"])

    def busy(self, *options):
        """A daemon whose worker is taken, and the job that takes it."""
        daemon = self.start(*options)
        number = daemon.submit(long_job())
        daemon.wait_update(number, 1)
        return daemon, number

    def test_queued(self):
        daemon, blocker = self.busy()
        number = daemon.submit(job())
        self.refused(daemon, number, "resume", "queued")
        self.assertEqual(self.done(daemon, number, "pause", "paused")["state"], "paused")
        self.refused(daemon, number, "pause", "paused")
        self.assertEqual(self.done(daemon, number, "resume", "queued")["state"], "queued")
        self.assertEqual(self.done(daemon, number, "cancel", "cancelled")["state"], "cancelled")
        for action in ("pause", "resume", "cancel"):
            self.refused(daemon, number, action, "cancelled")
        paused = daemon.submit(job())
        self.done(daemon, paused, "pause", "paused")
        self.done(daemon, paused, "cancel", "cancelled")
        self.assertEqual(daemon.job(blocker)["state"], "running")

    def test_a_paused_job_is_not_taken_and_frees_the_worker(self):
        daemon, number = self.busy()
        self.assertEqual(self.done(daemon, number, "pause", "pausing")["id"], number)
        shown = daemon.wait(number, "paused")
        self.assertIsNone(shown["wish"])
        self.assertEqual(shown["checkpoint_update"], shown["updates_done"])
        daemon.wait(daemon.submit(job()))
        self.assertEqual(daemon.job(number)["updates_done"], shown["updates_done"])
        self.done(daemon, number, "resume", "queued")
        daemon.wait_update(number, shown["updates_done"] + 5)
        self.refused(daemon, number, "resume", "running")
        self.done(daemon, number, "cancel", "cancelling")
        shown = daemon.wait(number, "cancelled")
        losses = daemon.losses(number)
        self.assertEqual([loss["update"] for loss in losses], list(range(1, len(losses) + 1)))
        self.assertEqual(len(losses), shown["updates_done"])

    def test_asking_again_for_what_is_under_way(self):
        daemon = self.start()
        number = daemon.submit(slow_job())
        daemon.wait_within_update(number)
        for _ in range(2):
            shown = self.done(daemon, number, "pause", "pausing")
            self.assertEqual((shown["state"], shown["wish"]), ("running", "pause"))
        self.refused(daemon, number, "resume", "running", "paused")
        for _ in range(2):
            shown = self.done(daemon, number, "cancel", "cancelling")
            self.assertEqual((shown["state"], shown["wish"]), ("running", "cancel"))
        self.refused(daemon, number, "pause", "cancelled")
        daemon.kill()
        self.assertEqual(self.start().job(number)["state"], "cancelled")

    def test_ended(self):
        daemon = self.start()
        good = daemon.submit(job())
        bad = daemon.submit(job(optimizer={"kind": "sgd", "lr": 1e9}, epochs=50))
        daemon.wait(good)
        daemon.wait(bad, "failed")
        for action in ("pause", "resume", "cancel"):
            self.refused(daemon, good, action, "succeeded")
            self.act(daemon, 999, action, 404)
            if action != "resume":
                self.refused(daemon, bad, action, "failed")

    def test_a_failed_job_fails_again_for_the_same_reason(self):
        daemon, blocker = self.busy()
        self.done(daemon, blocker, "pause", "pausing")
        bad = daemon.submit(job(optimizer={"kind": "sgd", "lr": 1e9}, epochs=50))
        before = daemon.wait(bad, "failed")
        self.done(daemon, blocker, "resume", "queued")
        daemon.wait(blocker, "running")
        shown = self.done(daemon, bad, "resume", "queued")
        self.assertEqual((shown["state"], shown["reason"], shown["finished_at"]), ("queued", None, None))
        events = support.Events(daemon, f"/v1/jobs/{bad}/events")
        self.done(daemon, blocker, "cancel", "cancelling")
        states = [event["data"]["state"] for event in events if event["event"] == "state"]
        self.assertEqual(states, ["running", "failed"])
        after = daemon.job(bad)
        self.assertEqual((after["reason"], after["updates_done"], after["starts"]),
                         (before["reason"], before["updates_done"], 2))

    def test_a_pause_outlives_a_kill(self):
        daemon = self.start()
        number = daemon.submit(slow_job())
        other = daemon.submit(job())
        daemon.wait(number, "running")
        self.done(daemon, number, "pause", "pausing")
        daemon.kill()
        daemon = self.start()
        self.assertEqual(daemon.job(number)["state"], "paused")
        daemon.wait(other)
        self.done(daemon, number, "resume", "queued")
        daemon.wait(number, "running")
        self.done(daemon, number, "cancel", "cancelling")
        daemon.kill()
        self.assertEqual(self.start().job(number)["state"], "cancelled")

    def test_pause_and_resume_leave_no_trace_in_the_weights(self):
        daemon = self.start("--workers", "2", "--threads", "2")
        epochs, pauses = 25, 0
        while pauses < 3:  # where the job is faster than this test, a longer one
            epochs *= 4
            spec = job("m-arwp", epochs, checkpoint={"every_epochs": 0, "every_seconds": 0},
                       evaluate={"every_epochs": 10})
            bumpy = daemon.submit(spec)
            pauses = self.disturb(daemon, bumpy)
        straight = daemon.submit(spec)
        daemon.wait(straight)
        self.assertEqual(support.read_safetensors(daemon.checkpoint(straight)),
                         support.read_safetensors(daemon.checkpoint(bumpy)))
        for series in (daemon.losses, daemon.epochs):
            self.assertEqual(support.without_times(series(straight)),
                             support.without_times(series(bumpy)))

    def disturb(self, daemon, number):
        """Pauses and resumes the job to its end; how often it was paused on its way."""
        seen, shown = 0, daemon.wait(number, "running", "succeeded")
        while shown["state"] != "succeeded":
            if daemon.request("POST", f"/v1/jobs/{number}/pause").status == 200:
                shown = daemon.wait(number, "paused", "succeeded")
            else:
                shown = daemon.wait(number, "succeeded")
            if shown["state"] == "paused":
                seen += 0 < shown["updates_done"] < shown["updates"]
                self.done(daemon, number, "resume", "queued")
                aim = min(shown["updates_done"] + 50, shown["updates"])
                shown = daemon.wait_until(number, lambda now: now["state"] == "succeeded" or
                                          now["updates_done"] >= aim, "to go on", 120)
        return seen

    def test_just_when_it_ends(self):
        """Whoever comes first: the end state is one that both may agree on, and the worker is free.
        Too early, then a little later; too late, then a little earlier: so it stays near the end."""
        daemon = self.start()
        seen, delay, draw = set(), 0.01, random.Random(1)
        for attempt in range(300):
            state = self.race(daemon, draw.choice(("pause", "cancel")), delay)
            seen.add(state)
            delay *= 1.3 if state != "succeeded" else 0.75
            if attempt >= 16 and len(seen) >= 3:
                break
        self.assertEqual(seen, {"paused", "cancelled", "succeeded"})
        daemon.wait(daemon.submit(job()))

    def race(self, daemon, action, delay):
        number = daemon.submit(job(epochs=20))
        time.sleep(delay)
        answer = daemon.request("POST", f"/v1/jobs/{number}/{action}")
        self.assertIn(answer.status, (200, 409))
        early = {"pause": "paused", "cancel": "cancelled"}[action]
        allowed = ("succeeded",) if answer.status == 409 else (early, "succeeded")
        shown = daemon.wait(number, *allowed)
        self.assertIsNone(shown["wish"])
        return shown["state"]

    def test_many_hands_on_one_job(self):
        daemon = self.start("--workers", "2")
        numbers = [daemon.submit(long_job()) for _ in range(3)]
        stop = time.monotonic() + 3

        def meddle(seed):
            draw = random.Random(seed)
            while time.monotonic() < stop:
                path = f"/v1/jobs/{draw.choice(numbers)}/{draw.choice(('pause', 'resume'))}"
                self.assertIn(daemon.request("POST", path).status, (200, 409))

        threads = [threading.Thread(target=meddle, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number in numbers:
            daemon.request("POST", f"/v1/jobs/{number}/cancel")
            daemon.wait(number, "cancelled")
        daemon.wait(daemon.submit(job()))


if __name__ == "__main__":
    support.run_tests()
