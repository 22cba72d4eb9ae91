#!/usr/bin/env python3
"""How fast the API answers with a database of a lab's size, while nothing trains and while a job does.

Fills a state folder with fill_database, starts the daemon on it and asks, one request after the
other with a pause of a few milliseconds, over one connection that is kept and with a new one for
each. The questions take turns, so that other work on the machine meets all of them. One JSON line a
measurement: percentiles in milliseconds, from before connecting until the last byte; first a line
with the size of the database and the seconds until the daemon is ready with it.

    api_latency.py --build BUILD [--jobs 10000] [--losses 1000000] [--requests 300]
"""

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "daemon"))
import support  # noqa: E402

PAUSE = 0.002  # somebody who asks, not a flood: training keeps the cores
LONG = (10000, 100000, 1000000)  # losses of further jobs

TRAINING = {
    "nothing": None,
    "demonstration": {"model": {"kind": "resnet", "width": 8, "blocks": [1, 1, 1]},
                      "batch_size": 30, "dataset": {"kind": "digits", "train_limit": 300},
                      "method": "m-rwp", "checkpoint": {"every_epochs": 5}},
    "resnet18": {"model": {"kind": "resnet18"}, "batch_size": 100, "dataset": {"kind": "digits"},
                 "checkpoint": {"every_epochs": 0}},
}


class Client:
    def __init__(self, daemon, keep):
        self.address, self.keep, self.connection = (daemon.host, daemon.port), keep, None

    def get(self, path):
        """Seconds; the body."""
        start = time.perf_counter()
        if not self.connection:
            self.connection = http.client.HTTPConnection(*self.address, timeout=60)
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        body = answer.read()
        seconds = time.perf_counter() - start
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {body[:500]!r}")
        if not self.keep:
            self.close()
        return seconds, body

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def milliseconds(values):
    shares = {"median_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "max_ms": 1}
    return {name: round(1e3 * percentile(values, share), 3) for name, share in shares.items()}


def deep_page(client, query=""):
    """The page in the middle of the list, as a cursor leads to it."""
    pages, path = [], "/v1/jobs?limit=200" + query
    while path:
        pages.append(path)
        path = json.loads(client.get(path)[1])["next"]
    return pages[len(pages) // 2].replace("limit=200", "limit=50")


def questions(daemon, newest, long_jobs):
    """Name → a function that gives a path."""
    draw, client = random.Random(1), Client(daemon, True)
    found = {
        "GET /v1/jobs/{id}": lambda: f"/v1/jobs/{draw.randint(1, newest)}",
        "GET /v1/jobs": lambda: "/v1/jobs",
        "GET /v1/jobs, a page in the middle": lambda path=deep_page(client): path,
        "GET /v1/jobs?state=succeeded, a page in the middle":
            lambda path=deep_page(client, "&state=succeeded"): path,
    }
    for state in ("queued", "running", "succeeded", "failed"):
        found[f"GET /v1/jobs?state={state}"] = lambda state=state: f"/v1/jobs?state={state}"
    found["GET /v1/jobs/{id}/losses?points=500, 100 losses"] = \
        lambda: f"/v1/jobs/{draw.randint(1, newest)}/losses?points=500"
    for losses, number in long_jobs.items():
        found[f"GET /v1/jobs/{{id}}/losses?points=500, {losses} losses"] = \
            lambda number=number: f"/v1/jobs/{number}/losses?points=500"
    found["GET /metrics"] = lambda: "/metrics"
    client.close()
    return found


def measure(daemon, asked, requests, **about):
    for keep in (True, False):
        client = Client(daemon, keep)
        times = {what: [] for what in asked}
        for _ in range(requests):
            for what, path in asked.items():
                times[what].append(client.get(path())[0])
                time.sleep(PAUSE)
        client.close()
        for what, values in times.items():
            print(json.dumps({"what": what, **about, "connection": "kept" if keep else "new",
                              "requests": requests, **milliseconds(values)}), flush=True)


def run(daemon, arguments, newest, long_jobs):
    asked = questions(daemon, newest, long_jobs)
    for training, changes in TRAINING.items():
        number, more = None, {}
        if changes:
            number = daemon.submit(support.long_job(**changes))
            daemon.wait_update(number, 3, seconds=120)
            more = {"GET /v1/jobs/{id}, the job that trains": lambda n=number: f"/v1/jobs/{n}"}
        measure(daemon, {**more, **asked}, arguments.requests, training=training)
        if number:
            daemon.post(f"/v1/jobs/{number}/cancel")
            daemon.wait(number, "cancelled", seconds=120)


def fill(arguments, state):
    """Makes the database; the number of the newest of the many jobs, and those of the long ones."""
    program = os.path.join(arguments.build, "tests", "bench", "fill_database")
    subprocess.run([program, state, str(arguments.jobs), str(arguments.losses)], check=True,
                   stdout=subprocess.DEVNULL)
    for losses in LONG:
        subprocess.run([program, state, "1", str(losses)], check=True, stdout=subprocess.DEVNULL)
    return arguments.jobs, {losses: arguments.jobs + 1 + i for i, losses in enumerate(LONG)}


def start(folder):
    """The daemon, started three times for the clock's sake."""
    times = []
    for _ in range(3):
        if times:
            daemon.stop()
        before = time.perf_counter()
        daemon = support.Daemon(folder)
        times.append(time.perf_counter() - before)
    size = sum(os.path.getsize(os.path.join(folder, "state", name))
               for name in os.listdir(os.path.join(folder, "state")))
    print(json.dumps({"what": "start", "seconds": round(percentile(times, 0.5), 3),
                      "database_bytes": size}), flush=True)
    return daemon


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", required=True, help="the build folder")
    parser.add_argument("--jobs", type=int, default=10000)
    parser.add_argument("--losses", type=int, default=1000000, help="of these jobs together")
    parser.add_argument("--requests", type=int, default=300, help="for each measurement")
    arguments = parser.parse_args()
    support.BINARY = os.path.join(arguments.build, "daemon", "rwpd")
    with tempfile.TemporaryDirectory() as folder:
        newest, long_jobs = fill(arguments, os.path.join(folder, "state"))
        daemon = start(folder)
        try:
            run(daemon, arguments, newest, long_jobs)
        finally:
            daemon.stop()


if __name__ == "__main__":
    main()
