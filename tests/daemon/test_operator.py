#!/usr/bin/env python3
"""What somebody who runs the daemon may do to it, by mistake or not: signals at bad moments, the
state folder moved or unwritable, too few open files, many jobs, many hands."""

import os
import random
import resource
import signal
import socket
import subprocess
import threading
import time

import support
from support import job, long_job


class Process(support.Case):
    def test_signals_at_any_moment_of_the_start(self):
        start = time.monotonic()
        self.start().stop()
        seconds, draw = time.monotonic() - start, random.Random(1)
        for _ in range(12):
            daemon = self.start(wait=False)
            time.sleep(draw.uniform(0, seconds))
            number = draw.choice((signal.SIGTERM, signal.SIGINT))
            daemon.signal(number)
            # Before it has looked at its options a signal ends it as it ends any process.
            self.assertIn(daemon.end(), (0, -number), daemon.log()[-2000:])
        daemon = self.start()
        daemon.wait(daemon.submit(job()))

    def test_stopped_and_continued(self):
        daemon = self.start()
        number = daemon.submit(long_job())
        for _ in range(10):
            before = daemon.wait_update(number, 1)["updates_done"]
            daemon.signal(signal.SIGSTOP)
            time.sleep(0.1)
            daemon.signal(signal.SIGCONT)
            daemon.wait_update(number, before + 10)
        losses = daemon.losses(number)
        self.assertEqual([loss["update"] for loss in losses], list(range(1, len(losses) + 1)))

    def test_closed_standard_files(self):
        def close_all():
            for number in range(3):
                os.close(number)

        daemon = self.start("--log-level", "debug", prepare=close_all)
        for number in range(3):
            self.assertEqual(os.readlink(f"/proc/{daemon.process.pid}/fd/{number}"), "/dev/null")
        daemon.wait(daemon.submit(job()))
        daemon.stop()

    def test_clients_cannot_take_the_files_that_jobs_need(self):
        def few_files():
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 150))

        daemon = self.start(prepare=few_files)
        self.assertIn("150 open files: 46 connections", daemon.log())
        for place in range(40):
            client = socket.create_connection((daemon.host, daemon.port), timeout=60 * support.SLOW,
                                              source_address=(f"127.0.0.{place % 8 + 2}", 0))
            self.addCleanup(client.close)
        daemon.wait(daemon.submit(job("m-arwp")))

    def test_many_jobs_leave_nothing_behind(self):
        daemon = self.start("--workers", "2", "--queue-limit", "1000")
        sizes = []
        each = 100 if support.SLOW <= 1 else 30
        for _ in range(3):
            last = [daemon.submit(job("m-arwp", epochs=1, seed=seed)) for seed in range(each)][-2:]
            for number in last:
                daemon.wait(number, seconds=300)
            sizes.append(self.size(daemon.process.pid))
        self.assertLess(sizes[-1][0], sizes[0][0] + 8, "open files")
        self.assertLess(sizes[-1][1], sizes[0][1] + 4, "threads")
        # SQLite's caches fill up to 2 MB a connection; a job's tensors would be far more.
        if not sizes[0][3]:
            self.assertLess(sizes[-1][2], sizes[0][2] + (16 << 20), "resident bytes")

    def size(self, process):
        """Open files, threads, resident bytes, whether a sanitizer keeps what was freed."""
        with open(f"/proc/{process}/statm") as file:
            pages = int(file.read().split()[1])
        with open(f"/proc/{process}/maps") as file:
            sanitized = "san.so" in file.read()
        return (len(os.listdir(f"/proc/{process}/fd")), len(os.listdir(f"/proc/{process}/task")),
                pages * resource.getpagesize(), sanitized)


class Folder(support.Case):
    def test_a_folder_that_is_moved_away_and_back(self):
        daemon = self.start()
        number = daemon.submit(long_job())
        daemon.wait_update(number, 20)
        os.rename(daemon.state, daemon.state + "-aside")
        self.assertIn("moved", daemon.wait_health(503)["detail"])
        self.assertEqual(daemon.request("POST", "/v1/jobs", job()).status, 500)
        self.assertEqual(daemon.get("/livez")["status"], "ok")
        os.rename(daemon.state + "-aside", daemon.state)
        daemon.wait_health(200)
        daemon.wait_update(number, daemon.job(number)["updates_done"] + 50)
        other = daemon.submit(job())
        daemon.stop()
        daemon = self.start()
        self.assertEqual([shown["id"] for shown in daemon.jobs()], [other, number])
        daemon.post(f"/v1/jobs/{number}/cancel")
        daemon.wait(other)
        losses = daemon.losses(number)
        self.assertEqual([loss["update"] for loss in losses], list(range(1, len(losses) + 1)))

    def test_a_job_that_ends_while_the_folder_is_away(self):
        daemon = self.start()
        # After some updates, each tenths of a second, its loss is no number.
        number = daemon.submit(job(batch_size=100, epochs=500, evaluate={"every_epochs": 500},
                                   optimizer={"kind": "sgd", "lr": 1e9},
                                   checkpoint={"every_epochs": 0, "every_seconds": 0},
                                   model={"kind": "resnet18", "width": 16}))
        daemon.wait_log("parameters on")
        os.rename(daemon.state, daemon.state + "-aside")
        daemon.wait_log("failed", seconds=120)
        os.rename(daemon.state + "-aside", daemon.state)
        self.assertRegex(daemon.wait(number, "failed")["reason"], "loss")
        daemon.wait(daemon.submit(job()))

    def test_a_folder_that_cannot_be_written(self):
        daemon = self.start()
        daemon.stop()
        bind = ["mount", "-o", "bind", daemon.state, daemon.state]
        if subprocess.run(bind, stderr=subprocess.DEVNULL).returncode:
            self.skipTest("needs to mount")
        self.addCleanup(subprocess.run, ["umount", "-l", daemon.state])
        subprocess.run(["mount", "-o", "remount,bind,ro", daemon.state], check=True)
        code, text, _ = self.refuse("--state", daemon.state, "--listen", "127.0.0.1:0")
        self.assertEqual(code, 1, text)
        self.assertRegex(text, f"(?i){daemon.state}.*read-only")

    def test_of_many_that_start_in_one_folder_one_stays(self):
        daemons = [self.start(wait=False, beside=True) for _ in range(6)]
        end = time.monotonic() + 60 * support.SLOW
        while sum(daemon.process.poll() is None for daemon in daemons) > 1:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        alive = [daemon for daemon in daemons if daemon.process.poll() is None]
        self.assertEqual(len(alive), 1, daemons[0].log())
        self.assertEqual({daemon.process.poll() for daemon in daemons}, {None, 5})
        alive[0].wait_ready()
        alive[0].wait(alive[0].submit(job()))

    def test_a_fifo_in_place_of_data_holds_up_nobody(self):
        folder = os.path.join(self.folder, "data")
        os.mkdir(folder)
        for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
            os.mkfifo(f"{folder}/{name}-ubyte")
        daemon = self.start()
        answer = daemon.post("/v1/jobs", job(dataset={"kind": "idx", "path": folder}), 422)
        self.assertIn("regular file", answer["errors"][0]["detail"])


class Crowd(support.Case):
    """Hundreds of jobs and many hands on them."""

    def at_once(self, n, act):
        threads = [threading.Thread(target=act, args=(seed,)) for seed in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def test_a_full_queue_over_a_restart_and_many_hands_on_it(self):
        daemon = self.start("--workers", "2", "--queue-limit", "300")
        blockers = [daemon.submit(long_job()) for _ in range(2)]
        for blocker in blockers:
            daemon.wait_update(blocker, 1)
        made, statuses = [], []

        def post(_seed):
            for _ in range(50):
                answer = daemon.request("POST", "/v1/jobs", job(epochs=1))
                statuses.append(answer.status)
                if answer.status == 201:
                    made.append(answer.json()["id"])

        self.at_once(8, post)
        self.assertEqual((statuses.count(201), statuses.count(429)), (300, 100))
        self.assertEqual(len(set(made)), 300)
        daemon.stop()
        daemon = self.start("--workers", "2")
        self.assertEqual({shown["id"] for shown in daemon.jobs("?limit=200")},
                         {*made, *blockers})
        for blocker in blockers:
            daemon.post(f"/v1/jobs/{blocker}/cancel")
        promises = self.storm(daemon, made)
        self.assert_kept(daemon, made, promises)

    def storm(self, daemon, numbers):
        """Pauses, resumes and cancels while jobs start and end; what was promised, in order."""
        promises = []

        def meddle(seed):
            draw = random.Random(seed)
            for _ in range(150):
                number, action = draw.choice(numbers), draw.choice(("pause", "resume", "cancel"))
                answer = daemon.request("POST", f"/v1/jobs/{number}/{action}")
                self.assertIn(answer.status, (200, 409))
                if answer.status == 200:
                    promises.append((number, answer.json()["result"]))

        self.at_once(6, meddle)
        return promises

    def assert_kept(self, daemon, numbers, promises):
        cancelled = {number for number, result in promises if result == "cancelled"}
        for number in numbers:
            if daemon.job(number)["state"] == "paused":
                daemon.post(f"/v1/jobs/{number}/resume")
        for number in numbers:
            shown = daemon.wait(number, "succeeded", "cancelled", seconds=300)
            self.assertIsNone(shown["wish"])
            if number in cancelled:
                self.assertEqual(shown["state"], "cancelled")
        self.assertTrue(cancelled)
        daemon.wait(daemon.submit(job()))


if __name__ == "__main__":
    support.run_tests()
