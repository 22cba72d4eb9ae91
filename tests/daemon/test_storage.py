#!/usr/bin/env python3
"""A database that is locked, damaged or has no room, as a user meets it."""

import os
import pathlib
import resource
import shutil
import signal
import sqlite3
import subprocess
import time

import support
from support import job, long_job


def small_disk(megabytes):
    """For preexec_fn: a limit on the size of each file, which acts as a full disk does."""
    def prepare():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes << 20, megabytes << 20))
    return prepare


class Full(support.Case):
    def mount(self, size):
        """A small disk at the state folder; false where we may not."""
        state = os.path.join(self.folder, "state")
        os.mkdir(state)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", state],
                              stderr=subprocess.DEVNULL)
        if done.returncode == 0:
            self.addCleanup(subprocess.run, ["umount", "-l", state])
        return done.returncode == 0

    def fill(self, state):
        path = os.path.join(state, "filler")
        with open(path, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass
        return path

    def test_a_full_disk_stops_the_work_but_loses_nothing(self):
        if not self.mount("24m"):
            self.skipTest("needs to mount a tmpfs")
        daemon = self.start()
        number = daemon.submit(long_job())
        daemon.wait_update(number, 50)
        filler = self.fill(daemon.state)
        detail, answer = self.refusal(daemon)
        self.assertRegex(detail, "(?i)full|space")
        self.assertEqual(answer.status, 507)
        self.assertIn("Retry-After", answer.headers)
        self.assertEqual(daemon.get("/livez")["status"], "ok")
        self.assertEqual(daemon.job(number)["state"], "running")
        jobs = len(daemon.jobs())
        os.unlink(filler)
        daemon.wait_health(200)
        before = daemon.job(number)["updates_done"]
        daemon.wait_update(number, before + 50)
        self.assertEqual(len(daemon.jobs()), jobs)
        losses = daemon.losses(number)
        self.assertEqual([loss["update"] for loss in losses], list(range(1, len(losses) + 1)))
        daemon.post(f"/v1/jobs/{number}/cancel")
        daemon.wait(number, "cancelled")

    def refusal(self, daemon):
        """How health and an answer tell of the disk. What fits into a file's free pages may still
        go through for some time."""
        while True:
            detail = daemon.wait_health(503)["detail"]
            answer = daemon.request("POST", "/v1/jobs", job())
            if answer.status != 201:
                return detail, answer

    def test_it_stops_while_the_disk_is_full(self):
        if not self.mount("24m"):
            self.skipTest("needs to mount a tmpfs")
        daemon = self.start()
        number = daemon.submit(long_job())
        daemon.wait_update(number, 50)
        filler = self.fill(daemon.state)
        daemon.wait_health(503)
        daemon.stop()
        os.unlink(filler)
        daemon = self.start()
        daemon.wait_update(number, daemon.job(number)["updates_done"] + 20)

    def test_a_limit_on_files_is_a_full_disk(self):
        # Room for the losses of some hundred updates, not for a checkpoint of 1.4 million numbers.
        daemon = self.start(prepare=small_disk(2))
        number = daemon.submit(job(epochs=1, model={"kind": "resnet18", "width": 16}))
        daemon.wait_health(503)
        self.assertEqual(daemon.job(number)["state"], "running")
        self.assertEqual(daemon.get("/livez")["status"], "ok")
        daemon.stop()
        daemon = self.start()
        daemon.wait(number)

    def test_no_room_at_the_start(self):
        if not self.mount("8k"):
            self.skipTest("needs to mount a tmpfs")
        code, text, _ = self.refuse("--state", self.folder + "/state", "--listen", "127.0.0.1:0")
        self.assertEqual(code, 6, text)
        self.assertRegex(text, "(?i)full|space")


class Locked(support.Case):
    def test_somebody_elses_lock_is_waited_for(self):
        daemon = self.start()
        number = daemon.submit(long_job())
        daemon.wait_update(number, 20)
        other = sqlite3.connect(os.path.join(daemon.state, "rwpd.db"), timeout=60,
                                isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        self.assertIn("lock", daemon.wait_health(503)["detail"])
        daemon.expect(503, "POST", "/v1/jobs", body=job())
        before = daemon.job(number)
        self.assertEqual(before["state"], "running")
        other.execute("ROLLBACK")
        other.close()
        daemon.wait_update(number, before["updates_done"] + 50)
        daemon.wait_health(200)
        losses = daemon.losses(number)
        self.assertEqual([loss["update"] for loss in losses], list(range(1, len(losses) + 1)))


class Damaged(support.Case):
    def overwrite(self, path, start, end):
        with open(path, "r+b") as file:
            file.seek(start)
            file.write(os.urandom(end - start))

    def test_a_damaged_database_is_named_and_refused(self):
        for name in ("rwpd.db", "checkpoints.db"):
            daemon = self.start()
            daemon.wait(daemon.submit(job()))
            daemon.stop()
            path = os.path.join(daemon.state, name)
            self.overwrite(path, 0, os.path.getsize(path))
            code, text, _ = self.refuse("--state", daemon.state, "--listen", "127.0.0.1:0")
            self.assertEqual(code, 4, text)
            self.assertIn(path, text)
            shutil.rmtree(daemon.state)

    def test_a_start_without_its_database_loses_nothing(self):
        daemon = self.start()
        numbers = [daemon.submit(long_job()) for _ in range(3)]
        daemon.kill()
        state, away = daemon.state, os.path.join(self.folder, "away.db")

        def files():
            return {path.name: path.read_bytes() for path in pathlib.Path(state).iterdir()
                    if path.name != "lock"}

        os.rename(os.path.join(state, "rwpd.db"), away)
        before = files()
        self.assertIn("rwpd.db-wal", before)
        code, text, _ = self.refuse("--state", state, "--listen", "127.0.0.1:0")
        self.assertEqual(code, 4, text)
        self.assertIn("rwpd.db is missing, but rwpd.db-wal", text)
        self.assertEqual(files(), before)
        os.rename(away, os.path.join(state, "rwpd.db"))
        daemon = self.start()
        self.assertEqual(sorted(shown["id"] for shown in daemon.jobs()), numbers)

    def test_a_database_of_a_newer_version_is_refused(self):
        daemon = self.start()
        daemon.stop()
        newer = sqlite3.connect(os.path.join(daemon.state, "rwpd.db"))
        newer.execute("PRAGMA user_version = 1000")
        newer.close()
        code, text, _ = self.refuse("--state", daemon.state, "--listen", "127.0.0.1:0")
        self.assertEqual(code, 7, text)

    def paused_with_checkpoint(self):
        daemon = self.start()
        number = daemon.submit(long_job())
        daemon.wait_update(number, 20)
        daemon.post(f"/v1/jobs/{number}/pause")
        daemon.wait(number, "paused")
        return daemon, number

    def test_a_checkpoint_that_cannot_be_restored_fails_its_job_only(self):
        daemon, number = self.paused_with_checkpoint()
        file = sqlite3.connect(os.path.join(daemon.state, "checkpoints.db"), timeout=30)
        with file:
            size, = file.execute("SELECT max(length(data)) FROM tensor").fetchone()
            file.execute("UPDATE tensor SET data = zeroblob(?) WHERE length(data) = ?", (size, size))
        file.close()
        daemon.post(f"/v1/jobs/{number}/resume")
        shown = daemon.wait(number, "failed")
        self.assertIn("checkpoint of update", shown["reason"])
        self.assertEqual(len(daemon.losses(number)), shown["updates_done"])
        daemon.wait(daemon.submit(job()))
        self.assertEqual(daemon.get("/readyz")["status"], "ok")

    def test_damaged_weights_to_begin_with_fail_the_job_only(self):
        daemon = self.start()
        source = daemon.submit(job())
        daemon.wait(source)
        blocker = daemon.submit(long_job())
        daemon.wait_update(blocker, 1)
        number = daemon.submit(job(init_from={"job": source}))
        file = sqlite3.connect(os.path.join(daemon.state, "checkpoints.db"), timeout=30)
        with file:
            file.execute("UPDATE tensor SET data = zeroblob(length(data)) WHERE number = 0 AND "
                         "checkpoint = (SELECT max(id) FROM checkpoint WHERE job = ?)", (source,))
        file.close()
        daemon.post(f"/v1/jobs/{blocker}/cancel")
        shown = daemon.wait(number, "failed")
        self.assertIn(f"of job {source}", shown["reason"])
        self.assertEqual(shown["updates_done"], 0)
        daemon.wait(daemon.submit(job()))

    def test_a_checkpoint_of_another_shape_fails_its_job_only(self):
        daemon, number = self.paused_with_checkpoint()
        file = sqlite3.connect(os.path.join(daemon.state, "checkpoints.db"), timeout=30)
        with file:
            file.execute("DELETE FROM tensor WHERE number = 3")
        file.close()
        daemon.post(f"/v1/jobs/{number}/resume")
        self.assertIn("checkpoint", daemon.wait(number, "failed")["reason"])
        daemon.wait(daemon.submit(job()))

    def test_damage_while_it_runs_is_told_and_nothing_more_is_written(self):
        daemon = self.start()
        for _ in range(10):
            last = daemon.submit(job(epochs=40, evaluate={"every_epochs": 40}))
        daemon.wait(last, seconds=300)
        number = daemon.submit(long_job())
        daemon.wait_update(number, 20)
        path = os.path.join(daemon.state, "rwpd.db")
        # All but the first page, which says how to read the others; the log of changes; and its
        # index, without which the daemon would go on for long with what it holds in memory. A
        # commit that is under way just then writes the index anew, so it may take some attempts.
        def damage():
            daemon.signal(signal.SIGSTOP)
            self.overwrite(path, 4096, os.path.getsize(path))
            self.overwrite(path + "-wal", 32, os.path.getsize(path + "-wal"))
            self.overwrite(path + "-shm", 0, 1000)
            daemon.signal(signal.SIGCONT)
            time.sleep(1)
            return daemon.request("GET", "/readyz").status == 503

        self.assertTrue(any(damage() for _ in range(60)), daemon.log()[-3000:])
        self.assertIn("rwpd.db", daemon.get("/readyz", 503)["detail"])
        self.assertEqual(daemon.get("/livez")["status"], "ok")
        self.assertGreaterEqual(daemon.request("POST", "/v1/jobs", job()).status, 500)
        daemon.stop()


if __name__ == "__main__":
    support.run_tests()
