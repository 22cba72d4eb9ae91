"""Starts the real daemon in a folder of its own and talks to it. Standard library only.

Environment: RWPD_BINARY, the program; RWPD_TEST_OPTIONS, further options for each start (a build
with ThreadSanitizer wants "--threads 1"); RWPD_TEST_SLOW, a factor for all waiting; VERBOSE, the seconds of
each test.

The machine may be fast, slow or busy. So a test waits for what must come, never for time to pass:
a limit of seconds only says when to give up. What must still go on when the test does something is
a `long_job`, what must be in the middle of an update a `slow_job`; the test ends both.
"""

import http.client
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("RWPD_BINARY", os.path.join(ROOT, "build", "daemon", "rwpd"))
SLOW = float(os.environ.get("RWPD_TEST_SLOW", "1"))
ENDED = ("succeeded", "failed", "cancelled")
METHODS = {"sgd": {}, "sam": {"rho": 0.5}, "rwp": {"sigma": 0.009}, "arwp": {"sigma": 0.009},
           "m-rwp": {"sigma": 0.15}, "m-arwp": {"sigma": 0.15}, "asam": {"rho": 1}}
COMPLAINTS = re.compile(r"ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:|"
                        r"SUMMARY: \w+Sanitizer")


def job(method="sgd", epochs=3, **changes):
    """A job that takes a fraction of a second: five updates an epoch."""
    made = {"name": method,
            "model": {"kind": "resnet", "width": 4, "blocks": [1, 1]},
            "dataset": {"kind": "digits", "train_limit": 100, "label_noise": 0.2},
            "method": {"kind": method, **METHODS[method]},
            "epochs": epochs, "batch_size": 20, "seed": 3}
    made.update(changes)
    return made


def long_job(method="sgd", **changes):
    """One that trains until somebody ends it: five million updates."""
    return job(method, **{"epochs": 100000, "evaluate": {"every_epochs": 100},
                          "dataset": {"kind": "digits", "train_limit": 1000}, **changes})


def slow_job():
    """One whose first update takes half a minute of a processor. It hears nothing meanwhile, so
    the test ends its daemon with `kill`."""
    return job("sam", epochs=50, batch_size=60, device="reference",
               model={"kind": "resnet", "width": 512, "blocks": [1]})


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:2000]!r}"


class Failure(AssertionError):
    pass


class Daemon:
    """A running daemon. `folder` outlives it; start another one there to go on, or one `beside`
    those that run there."""

    def __init__(self, folder, *options, environment=None, prepare=None, wait=True, beside=False):
        self.folder = folder
        self.state = os.path.join(folder, "state")
        self.log_path = os.path.join(folder, "log")
        self.token = None
        if not beside:
            self.forget_address()
        command = [BINARY, "--listen", "127.0.0.1:0", "--state", self.state,
                   *os.environ.get("RWPD_TEST_OPTIONS", "").split(), *options]
        clean = {name: value for name, value in os.environ.items()
                 if not name.startswith("RWPD_") and name not in ("NOTIFY_SOCKET", "JOURNAL_STREAM")}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env={**clean, **(environment or {})},
                                            preexec_fn=prepare)
        if wait:
            self.wait_ready()

    def forget_address(self):
        try:
            os.unlink(os.path.join(self.state, "listen"))
        except FileNotFoundError:
            pass

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def wait_ready(self, seconds=60):
        path = os.path.join(self.state, "listen")
        end = time.monotonic() + seconds * SLOW
        while not os.path.exists(path):
            if self.process.poll() is not None:
                raise Failure(f"it ended with {self.process.returncode}:\n{self.log()[-3000:]}")
            if time.monotonic() > end:
                raise Failure(f"it does not listen:\n{self.log()[-3000:]}")
            time.sleep(0.005)
        with open(path) as file:
            self.host, port = file.read().strip().rsplit(":", 1)
        self.port = int(port)

    # ---- requests ----

    def request(self, method, path, body=None, headers=None, timeout=60):
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        if self.token:
            headers.setdefault("Authorization", "Bearer " + self.token)
        connection = http.client.HTTPConnection(self.host.strip("[]"), self.port,
                                                timeout=timeout * SLOW)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise Failure(f"{method} {path}: {error!r}; the log:\n{self.log()[-3000:]}") from error
        finally:
            connection.close()

    def get(self, path, status=200, **more):
        return self.expect(status, "GET", path, **more).json()

    def post(self, path, body=None, status=200, **more):
        return self.expect(status, "POST", path, body=body, **more).json()

    def expect(self, status, method, path, **more):
        answer = self.request(method, path, **more)
        if answer.status != status:
            raise Failure(f"{method} {path}: expected {status}, got {answer}")
        return answer

    def submit(self, spec, **more):
        return self.post("/v1/jobs", spec, 201, **more)["id"]

    def job(self, number):
        return self.get(f"/v1/jobs/{number}")

    def wait(self, number, *states, seconds=120):
        """The job, once it is in one of the states; an end in another one is a failure."""
        states = states or ("succeeded",)
        return self.wait_until(number, lambda shown: shown["state"] in states,
                               f"to be {' or '.join(states)}", seconds)

    def wait_update(self, number, updates, seconds=120):
        """The job, once it is running and has done so many updates."""
        return self.wait_until(number, lambda shown: shown["state"] == "running"
                               and shown["updates_done"] >= updates,
                               f"to have done {updates} updates", seconds)

    def wait_within_update(self, number):
        """Until a `slow_job` computes its first update: what comes before takes far less."""
        self.wait(number, "running")
        before = self.processor_seconds()
        self.wait_until(number, lambda shown: self.processor_seconds() - before > 2,
                        "to compute", 120)

    def processor_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait_log(self, text, times=1, seconds=60):
        end = time.monotonic() + seconds * SLOW
        while self.log().count(text) < times:
            if time.monotonic() > end:
                raise Failure(f"the log never said {text!r}:\n{self.log()[-3000:]}")
            time.sleep(0.01)

    def wait_health(self, status, seconds=120):
        """What /readyz says, once it answers so."""
        end = time.monotonic() + seconds * SLOW
        while True:
            answer = self.request("GET", "/readyz")
            if answer.status == status:
                return answer.json()
            if time.monotonic() > end:
                raise Failure(f"/readyz never was {status}:\n{self.log()[-3000:]}")
            time.sleep(0.02)

    def wait_until(self, number, happened, what, seconds):
        end = time.monotonic() + seconds * SLOW
        while True:
            shown = self.job(number)
            if happened(shown):
                return shown
            if shown["state"] in ENDED or time.monotonic() > end:
                raise Failure(f"waited for job {number} {what}; it is {json.dumps(shown)}\n"
                              f"{self.log()[-3000:]}")
            time.sleep(0.01)

    def jobs(self, query=""):
        """All jobs, newest first, page by page."""
        found, path = [], "/v1/jobs" + query
        while path:
            page = self.get(path)
            found += page["jobs"]
            path = page["next"]
        return found

    def losses(self, number):
        return self.get(f"/v1/jobs/{number}/losses")["losses"]

    def epochs(self, number):
        return self.get(f"/v1/jobs/{number}/epochs")["epochs"]

    def checkpoints(self, number):
        return self.get(f"/v1/jobs/{number}/checkpoints")["checkpoints"]

    def checkpoint(self, number, update="latest", part="full"):
        """The whole file as bytes."""
        return self.expect(200, "GET", f"/v1/jobs/{number}/checkpoints/{update}?state={part}").body

    # ---- the end ----

    def signal(self, number):
        self.process.send_signal(number)

    def end(self, seconds=60):
        """Waits for the process; its exit code."""
        try:
            return self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"it does not end:\n{self.log()[-3000:]}") from error

    def stop(self, seconds=60):
        """SIGTERM; it must end well."""
        self.signal(signal.SIGTERM)
        code = self.end(seconds)
        if code != 0:
            raise Failure(f"it ended with {code}:\n{self.log()[-6000:]}")

    def kill(self):
        self.process.kill()
        self.process.wait()


class Events:
    """A server-sent event stream, one event at a time."""

    def __init__(self, daemon, path, last_id=None, timeout=60):
        headers = {"Accept": "text/event-stream"}
        if last_id is not None:
            headers["Last-Event-ID"] = str(last_id)
        if daemon.token:
            headers["Authorization"] = "Bearer " + daemon.token
        self.connection = http.client.HTTPConnection(daemon.host, daemon.port,
                                                     timeout=timeout * SLOW)
        self.connection.request("GET", path, headers=headers)
        self.answer = self.connection.getresponse()
        self.status = self.answer.status

    def __iter__(self):
        return self

    def __next__(self):
        """The next event as {"id", "event", "data"}; ends with the stream, however it ends."""
        event = {}
        while True:
            try:
                line = self.answer.readline()
            except (ConnectionError, http.client.HTTPException):
                line = b""
            if not line:
                self.close()
                raise StopIteration
            name, _, value = line.decode().rstrip("\n").partition(":")
            if name == "" and not value:
                if "data" in event:
                    event["data"] = json.loads(event["data"])
                    return event
                event = {}
            elif name in ("id", "event", "data"):
                event[name] = value[1:] if value.startswith(" ") else value

    def close(self):
        self.answer.close()
        self.connection.close()


class Case(unittest.TestCase):
    """A test with a folder of its own; daemons that it starts are stopped at its end, in order."""

    def run(self, result=None):
        start = time.monotonic()
        super().run(result)
        if os.environ.get("VERBOSE"):
            print(f"{time.monotonic() - start:6.1f} s {self.id()}", file=sys.stderr)

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rwpd-test-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.daemons = []

    def start(self, *options, **more):
        daemon = Daemon(self.folder, *options, **more)
        self.daemons.append(daemon)
        return daemon

    def tearDown(self):
        for daemon in self.daemons:
            if daemon.process.poll() is None:
                try:
                    daemon.stop()
                finally:
                    daemon.kill()
        complaint = self.daemons and COMPLAINTS.search(self.daemons[0].log())
        if complaint:
            self.fail(self.daemons[0].log()[complaint.start():][:8000])

    def refuse(self, *options, environment=None):
        """A start that must fail at once: its exit code and what it said."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RWPD_")}
        done = subprocess.run([BINARY, *options], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=60 * SLOW, env={**clean, **(environment or {})})
        return done.returncode, done.stderr, done.stdout


def read_safetensors(data):
    """Name → (type, shape, bytes). Eight bytes of header length, JSON, the tensors without gaps."""
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    body, tensors, covered = data[8 + length:], {}, 0
    for name, about in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, end = about["data_offsets"]
        if start != covered:
            raise Failure(f"{name} starts at {start}, the tensor before ends at {covered}")
        tensors[name] = (about["dtype"], tuple(about["shape"]), body[start:end])
        covered = end
    if covered != len(body):
        raise Failure(f"{len(body) - covered} bytes belong to no tensor")
    return tensors


def without_times(rows):
    """A series as far as it must repeat: durations and dates left out."""
    return [{name: value for name, value in row.items() if name not in ("seconds", "time", "at")}
            for row in rows]


def run_tests():
    unittest.main()
