#!/usr/bin/env python3
"""Kill -9 at random moments: no job that was answered with 201 is lost, and each ends with the very
bits and the very history of a run that nobody disturbed.

KILLS=50 for the long version; SEED=n repeats the moments of an earlier run.
"""

import os
import random
import sys
import threading
import time

import support

KILLS = int(os.environ.get("KILLS", "8"))
SEED = int(os.environ.get("SEED", str(random.SystemRandom().randrange(10 ** 6))))


def jobs():
    """One of each method; together they take some seconds."""
    return [support.job(method, epochs=24, batch_size=10, seed=5,
                        model={"kind": "resnet", "width": 8, "blocks": [1, 1, 1]},
                        dataset={"kind": "digits", "train_limit": 160, "label_noise": 0.2},
                        checkpoint={"every_epochs": 2, "keep": 2})
            for method in support.METHODS]


class Truth:
    """What an undisturbed daemon makes of the jobs."""

    def __init__(self, daemon):
        start = time.monotonic()
        numbers = [daemon.submit(spec) for spec in jobs()]
        self.ends = [outcome(daemon, number) for number in numbers]
        self.seconds = time.monotonic() - start


def outcome(daemon, number):
    shown = daemon.wait(number, seconds=300)
    return {"checkpoint": support.read_safetensors(daemon.checkpoint(number)),
            "losses": support.without_times(daemon.losses(number)),
            "epochs": support.without_times(daemon.epochs(number)),
            "best": (shown["best_top1"], shown["best_epoch"], shown["test_loss"])}


class Submitter(threading.Thread):
    """Posts a small job, over and over, to whatever daemon there is; keeps what was promised."""

    def __init__(self):
        super().__init__(daemon=True)
        self.promised, self.target, self.ended = {}, None, False
        self.wrong = None

    def run(self):
        count = 0
        while not self.ended:
            daemon = self.target
            time.sleep(0.05)
            if daemon is None:
                continue
            name = f"small {count}"
            try:
                answer = daemon.request("POST", "/v1/jobs", support.job("sgd", 1, name=name),
                                        headers={"Idempotency-Key": name})
            except (support.Failure, OSError):
                continue  # the same key again, at the next daemon
            if answer.status not in (200, 201):
                self.wrong = repr(answer)
                return
            self.promised[answer.json()["id"]] = name
            count += 1


class Kill(support.Case):
    OPTIONS = ("--workers", "2", "--queue-limit", "100000")

    def test_nothing_is_lost_and_no_bit_differs(self):
        truth = self.undisturbed()
        submitter = Submitter()
        submitter.start()
        numbers, moments, daemon = [], random.Random(SEED), None
        for kill in range(KILLS):
            daemon = self.start(*self.OPTIONS)
            submitter.target = daemon
            promised = list(submitter.promised)
            states = [daemon.job(number)["state"] for number in numbers + promised]
            self.assertLessEqual(set(states), {"queued", "running", "succeeded"})
            if set(states[:len(numbers)]) <= {"succeeded"}:
                numbers += [daemon.submit(spec) for spec in jobs()]
            time.sleep(moments.uniform(0, 1.6 * truth.seconds / max(KILLS, 8)))
            submitter.target = None
            daemon.kill()
        daemon = self.start(*self.OPTIONS)
        submitter.ended = True
        submitter.join()
        self.assertIsNone(submitter.wrong, submitter.wrong)
        self.compare(daemon, numbers, truth)
        starts = sum(daemon.job(number)["starts"] for number in numbers)
        for number, name in submitter.promised.items():
            self.assertEqual(daemon.wait(number, seconds=300)["name"], name)
        self.assertEqual(len(set(submitter.promised.values())), len(submitter.promised))
        print(f"{KILLS} kills, seed {SEED}: {len(numbers)} jobs of six methods in {starts} starts "
              f"and {len(submitter.promised)} small ones, none lost, all bits the same",
              file=sys.stderr)

    def undisturbed(self):
        daemon = self.start(*self.OPTIONS)
        truth = Truth(daemon)
        daemon.stop()
        os.rename(daemon.state, daemon.state + "-undisturbed")
        return truth

    def compare(self, daemon, numbers, truth):
        self.assertGreaterEqual(len(numbers), len(truth.ends))
        for place, number in enumerate(numbers):
            found, wanted = outcome(daemon, number), truth.ends[place % len(truth.ends)]
            for part in ("losses", "epochs", "best"):
                self.assertEqual(found[part], wanted[part], f"{part} of job {number}, seed {SEED}")
            # What the run has done (momentum, Fisher numbers, sums) is compared with the weights.
            self.assertEqual(found["checkpoint"], wanted["checkpoint"],
                             f"weights of job {number}, seed {SEED}")


if __name__ == "__main__":
    support.run_tests()
