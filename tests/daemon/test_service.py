#!/usr/bin/env python3
"""As a service: notification, signals, the listen file, the unit."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import support


class Service(support.Case):
    def listen_for_notes(self, address):
        notes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notes.bind(address)
        notes.settimeout(60 * support.SLOW)
        self.addCleanup(notes.close)
        return notes

    def gather(self, notes, wanted):
        """All lines until one begins with `wanted`."""
        lines = []
        while not any(line.startswith(wanted) for line in lines):
            lines += notes.recv(4096).decode().split("\n")
        return lines

    def test_it_tells_the_service_manager_how_it_is(self):
        path = os.path.join(self.folder, "notify")
        abstract = f"rwpd-test-{os.getpid()}"
        number = None
        for name, address in ((path, path), ("@" + abstract, "\0" + abstract)):
            notes = self.listen_for_notes(address)
            daemon = self.start(environment={"NOTIFY_SOCKET": name})
            lines = self.gather(notes, "READY=1")
            self.assertIn(f"STATUS=Listening on 127.0.0.1:{daemon.port}", lines)
            number = number or daemon.submit(support.long_job())
            daemon.wait_update(number, 1)
            daemon.signal(signal.SIGTERM)
            self.assertIn("STOPPING=1", self.gather(notes, "STOPPING=1"))
            self.assertEqual(daemon.end(), 0)

    def test_nobody_listens_to_the_notes(self):
        for name in (self.folder + "/none", "nonsense", "@", "/" + "x" * 200):
            self.start(environment={"NOTIFY_SOCKET": name}).stop()

    def test_the_listen_file_says_where_and_goes_with_the_daemon(self):
        daemon = self.start()
        with open(daemon.state + "/listen") as file:
            self.assertEqual(file.read(), f"127.0.0.1:{daemon.port}\n")
        self.assertEqual(os.stat(daemon.state).st_mode & 0o777, 0o700)
        daemon.stop()
        self.assertFalse(os.path.exists(daemon.state + "/listen"))

    def test_a_stale_listen_file_is_replaced(self):
        first = self.start()
        first.kill()
        with open(first.state + "/listen", "w") as file:
            file.write("127.0.0.1:1\n")
        second = self.start(environment={})
        self.assertNotEqual(second.port, 1)

    def test_one_clear_line_with_the_address(self):
        daemon = self.start()
        daemon.wait_log(f"http://127.0.0.1:{daemon.port}/")
        self.assertEqual(daemon.log().count("http://"), 1)

    def test_under_the_journal_lines_carry_their_priority(self):
        daemon = self.start(environment={"JOURNAL_STREAM": "1:2"})
        daemon.wait_log("<6>listening on")

    def test_threads_that_wait_spin_briefly(self):
        """Unless the operator says how: libgomp knows by its environment."""
        for given, found in (({}, b"GOMP_SPINCOUNT=1000"), ({"GOMP_SPINCOUNT": "7"}, b"GOMP_SPINCOUNT=7"),
                             ({"OMP_WAIT_POLICY": "active"}, None)):
            daemon = self.start(environment=given)
            with open(f"/proc/{daemon.process.pid}/environ", "rb") as file:
                spins = [line for line in file.read().split(b"\0") if line.startswith(b"GOMP_")]
            self.assertEqual(spins, [found] if found else [])
            with open(f"/proc/{daemon.process.pid}/comm") as file:
                self.assertEqual(file.read(), "rwpd\n")
            daemon.stop()

    def test_hangup_and_broken_pipes_are_harmless(self):
        daemon = self.start()
        daemon.signal(signal.SIGHUP)
        daemon.signal(signal.SIGPIPE)
        for _ in range(10):
            time.sleep(0.01)
            daemon.get("/livez")

    def test_sigint_stops_too(self):
        daemon = self.start()
        daemon.signal(signal.SIGINT)
        self.assertEqual(daemon.end(), 0)

    def test_a_second_signal_ends_it_at_once(self):
        daemon = self.start()
        # Both signals fall into its first update, which the daemon would wait for.
        number = daemon.submit(support.slow_job())
        daemon.wait_within_update(number)
        daemon.signal(signal.SIGTERM)
        daemon.wait_log("once more ends the process at once")
        self.assertIsNone(daemon.process.poll())
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.end(), 128 + signal.SIGTERM)
        again = self.start()
        self.assertIn(again.job(number)["state"], ("queued", "running"))
        again.kill()

    def test_stopping_takes_seconds_and_the_next_start_goes_on(self):
        daemon = self.start()
        number = daemon.submit(support.long_job(checkpoint={"every_epochs": 0, "every_seconds": 0}))
        waiting = daemon.submit(support.job())
        before = daemon.wait_update(number, 20)
        self.assertEqual(daemon.checkpoints(number), [])
        start = time.monotonic()
        daemon.stop()
        self.assertLess(time.monotonic() - start, 20 * support.SLOW)
        daemon = self.start()
        shown = daemon.wait_update(number, before["updates_done"] + 1)
        self.assertEqual(len(daemon.checkpoints(number)), 1)
        self.assertEqual(shown["starts"], 2)
        self.assertEqual(daemon.job(waiting)["state"], "queued")
        losses = daemon.losses(number)
        self.assertEqual([loss["update"] for loss in losses], list(range(1, len(losses) + 1)))
        daemon.post(f"/v1/jobs/{number}/cancel")
        daemon.wait(waiting)


class Unit(unittest.TestCase):
    def test_the_installed_unit_is_sound(self):
        build = os.environ.get("RWPD_BUILD")
        if not build or not shutil.which("systemd-analyze"):
            self.skipTest("needs RWPD_BUILD and systemd-analyze")
        with open(os.path.join(build, "systemd", "rwpd.service")) as file:
            unit = file.read()
        for line in ("Type=notify", "StateDirectory=rwpd", "Restart=on-failure", "KillMode=mixed",
                     "RestartForceExitStatus=75"):
            self.assertIn(line + "\n", unit)
        with tempfile.TemporaryDirectory() as folder:
            # The program need not be installed for this; the unit's words are what is looked at.
            start = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
            path = os.path.join(folder, "rwpd.service")
            with open(path, "w") as file:
                file.write(unit.replace(start, f"ExecStart={support.BINARY}"))
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", path],
                                  capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
        self.assertTrue(start.endswith("/rwpd"), start)


if __name__ == "__main__":
    support.run_tests()
