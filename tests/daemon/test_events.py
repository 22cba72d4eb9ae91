#!/usr/bin/env python3
"""Event streams: complete, in order, and one history over restarts."""

import threading
import time

import support
from support import Events, job, long_job


class Follower:
    """A client as a browser is one: comes back with the last id that it has seen, and lets a job
    that starts again from a checkpoint take back what lies beyond it."""

    def __init__(self, daemon, number):
        self.path = f"/v1/jobs/{number}/events"
        self.daemon, self.last = daemon, 0
        self.seen, self.losses, self.epochs, self.states = [], {}, {}, []
        self.contradictions = []

    def follow(self, until=lambda event: False):
        """One connection: until the stream ends or `until` says so; true if there is no more."""
        stream = Events(self.daemon, self.path, self.last)
        if stream.status == 204:
            return True
        assert stream.status == 200, stream.status
        for event in stream:
            self.take(event)
            if until(event):
                break
        stream.close()
        return False

    def take(self, event):
        if int(event["id"]) <= self.last:
            self.contradictions.append(f"{event['id']} after {self.last}")
        self.last = int(event["id"])
        self.seen.append(self.last)
        data = event["data"]
        if event["event"] == "state":
            self.states.append(data["state"])
            if data["state"] == "running":
                self.rewind(data["from_update"])
        elif event["event"] == "update":
            self.add(self.losses, data["loss"]["update"], data["loss"])
        elif event["event"] == "epoch":
            self.add(self.epochs, data["epoch"]["epoch"], data["epoch"])

    def add(self, series, place, row):
        if place in series and series[place] != row:
            self.contradictions.append(f"{series[place]} and {row}")
        series[place] = row

    def rewind(self, update):
        for series in (self.losses, self.epochs):
            for place in [place for place, row in series.items() if row["update"] > update]:
                del series[place]


class Streams(support.Case):
    def assert_like_the_record(self, follower, daemon, number):
        self.assertEqual(follower.contradictions, [])
        self.assertEqual(follower.seen, sorted(set(follower.seen)))
        self.assertEqual(list(follower.losses.values()), daemon.losses(number))
        self.assertEqual(list(follower.epochs.values()), daemon.epochs(number))

    def test_a_stream_tells_all_and_ends_with_the_job(self):
        daemon = self.start()
        number = daemon.submit(job("m-rwp", 40))
        follower = Follower(daemon, number)
        self.assertFalse(follower.follow())
        self.assertEqual(follower.states, ["queued", "running", "succeeded"])
        self.assert_like_the_record(follower, daemon, number)
        self.assertTrue(follower.follow())

    def test_coming_back_after_each_event_misses_nothing(self):
        daemon = self.start()
        number = daemon.submit(job(epochs=4))
        follower, events = Follower(daemon, number), []
        while not follower.follow(until=lambda event: True):
            events.append(follower.last)
        self.assertEqual(len(events), len(set(events)))
        self.assert_like_the_record(follower, daemon, number)
        self.assertEqual(follower.states[-1], "succeeded")

    def test_over_restarts_and_kills_there_is_one_history(self):
        daemon = self.start()
        number = daemon.submit(long_job("arwp", checkpoint={"every_epochs": 1}))
        follower = Follower(daemon, number)
        for end in (support.Daemon.stop, support.Daemon.kill, support.Daemon.kill):
            thread = threading.Thread(target=follower.follow)
            thread.start()
            daemon.wait_update(number, daemon.job(number)["updates_done"] + 300)
            end(daemon)
            thread.join()
            daemon = follower.daemon = self.start()
        daemon.wait_update(number, daemon.job(number)["updates_done"] + 300)
        daemon.post(f"/v1/jobs/{number}/cancel")
        daemon.wait(number, "cancelled")
        while not follower.follow():
            pass
        self.assert_like_the_record(follower, daemon, number)
        self.assertGreater(len(follower.losses), 500)
        self.assertEqual(follower.states[-1], "cancelled")
        self.assertGreaterEqual(follower.states.count("running"), 2)

    def test_all_jobs_in_one_stream(self):
        daemon = self.start("--workers", "2")
        stream = Events(daemon, "/v1/events")
        next(stream)
        numbers = {daemon.submit(job(epochs=2, seed=seed)) for seed in range(4)}
        ended, ids = set(), []
        for event in stream:
            ids.append(int(event["id"]))
            self.assertNotEqual(event["event"], "update")
            if event["event"] == "state" and event["data"]["state"] == "succeeded":
                ended.add(event["data"]["job"])
            if ended == numbers:
                break
        stream.close()
        self.assertEqual(ids, sorted(set(ids)))

    def test_losses_come_while_it_trains(self):
        # Its updates are slow, so that even a slow client keeps up with them.
        daemon = self.start()
        number = daemon.submit(job(device="reference", batch_size=50, epochs=100000,
                                   evaluate={"every_epochs": 10000},
                                   model={"kind": "resnet", "width": 8, "blocks": [1, 1]}))
        before = daemon.wait_update(number, 3)["updates_done"]
        stream = Events(daemon, f"/v1/jobs/{number}/events", last_id=0)
        updates = []
        while not updates or updates[-1] < before + 10:
            event = next(stream)
            if event["event"] == "update":
                updates.append(event["data"]["loss"]["update"])
        stream.close()
        self.assertEqual(updates, list(range(1, updates[-1] + 1)))
        self.assertEqual(daemon.job(number)["state"], "running")
        daemon.post(f"/v1/jobs/{number}/cancel")

    def test_a_stop_ends_streams_in_order(self):
        daemon = self.start()
        number = daemon.submit(long_job())
        daemon.wait_update(number, 1)
        streams = [Events(daemon, path) for path in ("/v1/events", f"/v1/jobs/{number}/events")]
        threads = [threading.Thread(target=list, args=(stream,)) for stream in streams]
        for thread in threads:
            thread.start()
        start = time.monotonic()
        daemon.stop()
        self.assertLess(time.monotonic() - start, 20 * support.SLOW)
        for thread in threads:
            thread.join(30 * support.SLOW)
            self.assertFalse(thread.is_alive())

    def test_no_such_job(self):
        self.start().expect(404, "GET", "/v1/jobs/7/events")


if __name__ == "__main__":
    support.run_tests()
