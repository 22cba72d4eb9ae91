#!/usr/bin/env python3
"""Pausing, resuming, cancelling: in every state, over restarts, and just when a job ends."""

import threading
import time

import support
from support import job, long_job


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
        # An update of this one takes long enough to be asked twice.
        daemon = self.start()
        number = daemon.submit(job(device="reference", batch_size=100, epochs=50,
                                   model={"kind": "resnet18", "width": 16}))
        daemon.wait(number, "running")
        self.done(daemon, number, "pause", "pausing")
        shown = self.done(daemon, number, "pause", "pausing")
        if shown["state"] == "running":
            self.assertEqual(shown["wish"], "pause")
            self.refused(daemon, number, "resume", "running", "paused")
        self.done(daemon, number, "cancel", "cancelling")
        self.done(daemon, number, "cancel", "cancelling")
        self.refused(daemon, number, "pause", "cancelled")
        daemon.wait(number, "cancelled")

    def test_ended(self):
        daemon = self.start()
        good = daemon.submit(job())
        bad = daemon.submit(job(optimizer={"kind": "sgd", "lr": 1e9}, epochs=50))
        daemon.wait(good)
        daemon.wait(bad, "failed")
        for action in ("pause", "resume", "cancel"):
            self.refused(daemon, good, action, "succeeded")
            self.refused(daemon, bad, action, "failed")
            self.act(daemon, 999, action, 404)

    def test_a_pause_outlives_a_kill(self):
        daemon = self.start()
        number = daemon.submit(job(device="reference", batch_size=100, epochs=50,
                                   model={"kind": "resnet18", "width": 32}))
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
        spec = job("m-arwp", 200, checkpoint={"every_epochs": 0, "every_seconds": 0})
        straight, bumpy = daemon.submit(spec), daemon.submit(spec)
        pauses = 0
        while daemon.job(bumpy)["state"] not in support.ENDED:
            answer = daemon.request("POST", f"/v1/jobs/{bumpy}/pause")
            if answer.status == 200:
                daemon.wait(bumpy, "paused", "succeeded")
                pauses += daemon.request("POST", f"/v1/jobs/{bumpy}/resume").status == 200
            time.sleep(0.03)
        daemon.wait(straight)
        daemon.wait(bumpy)
        self.assertGreater(pauses, 2)
        self.assertEqual(support.read_safetensors(daemon.checkpoint(straight)),
                         support.read_safetensors(daemon.checkpoint(bumpy)))
        for series in (daemon.losses, daemon.epochs):
            self.assertEqual(support.without_times(series(straight)),
                             support.without_times(series(bumpy)))

    def test_just_when_it_ends(self):
        """Whoever comes first: the end state is one that both may agree on, and the worker is free."""
        daemon = self.start()
        seen = set()
        for attempt in range(30):
            action = ("pause", "cancel")[attempt % 2]
            number = daemon.submit(job(epochs=2))
            time.sleep(0.002 * attempt)
            answer = daemon.request("POST", f"/v1/jobs/{number}/{action}")
            self.assertIn(answer.status, (200, 409))
            allowed = {"pause": ("paused", "succeeded"),
                       "cancel": ("cancelled", "succeeded")}[action]
            if answer.status == 409:
                allowed = ("succeeded",)
            shown = daemon.wait(number, *allowed)
            self.assertIsNone(shown["wish"])
            seen.add(shown["state"])
        self.assertGreaterEqual(len(seen), 2)
        daemon.wait(daemon.submit(job()))

    def test_many_hands_on_one_job(self):
        daemon = self.start("--workers", "2")
        numbers = [daemon.submit(long_job()) for _ in range(3)]
        stop = time.monotonic() + 3

        def meddle(seed):
            import random
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
