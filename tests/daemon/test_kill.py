#!/usr/bin/env python3
"""Kill -9 at random moments: no job that was answered with 201 is lost, and each ends with the very
bits and the very history of a run that nobody disturbed.

A third of the kills falls into the start, before the daemon listens; a third is aimed at the moment
in which a checkpoint is written; the others come at any time while it works.

KILLS=n asks for more or fewer than the 50 (8 where RWPD_TEST_SLOW is set); SEED=n repeats the
choices of an earlier run. What it did is said in one line on standard error.
"""

import os
import random
import re
import sys
import threading
import time

import support

KILLS = int(os.environ.get("KILLS", "50" if support.SLOW <= 1 else "8"))
SEED = int(os.environ.get("SEED", str(random.SystemRandom().randrange(10 ** 6))))
AT_WORK, STARTING, WRITING = "at work", "starting", "writing a checkpoint"


def jobs():
    """One of each method; together they take some seconds."""
    epochs = 24 if support.SLOW <= 1 else 8
    return [support.job(method, epochs=epochs, batch_size=10, seed=5,
                        model={"kind": "resnet", "width": 8, "blocks": [1, 1, 1]},
                        dataset={"kind": "digits", "train_limit": 160, "label_noise": 0.2},
                        checkpoint={"every_epochs": 1, "keep": 2})
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
    """Posts small jobs, a few to each daemon that there is; keeps what was promised."""

    EACH = 4

    def __init__(self):
        super().__init__(daemon=True)
        self.promised, self.target, self.ended = {}, None, False
        self.wrong = None

    def run(self):
        count, last, left = 0, None, 0
        while not self.ended:
            daemon = self.target
            time.sleep(0.005)
            if daemon is not last:
                last, left = daemon, self.EACH
            if daemon is None or left == 0:
                continue
            name = f"small {count}"
            try:
                answer = daemon.request("POST", "/v1/jobs", support.job("sgd", 1, name=name),
                                        headers={"Idempotency-Key": name})
            except support.Failure:
                continue  # the same key again, at the next daemon
            if answer.status not in (200, 201):
                self.wrong = repr(answer)
                return
            self.promised[answer.json()["id"]] = name
            count, left = count + 1, left - 1

    def wait_for_a_promise(self, before):
        """Until a job was answered with 201: a moment later the daemon is killed."""
        while len(self.promised) == before and self.is_alive():
            time.sleep(0.0005)

    def end(self):
        self.ended = True
        self.join()


class Kill(support.Case):
    OPTIONS = ("--workers", "2", "--queue-limit", "100000")

    def test_nothing_is_lost_and_no_bit_differs(self):
        truth = self.undisturbed()
        self.submitter, self.numbers = Submitter(), []
        self.submitter.start()
        draw = random.Random(SEED)
        plan = [(AT_WORK, STARTING, WRITING)[kill % 3] for kill in range(KILLS)]
        draw.shuffle(plan)
        for moment in plan:
            if moment == STARTING:
                self.kill_while_it_starts(draw.uniform(0, 1.2 * self.start_seconds))
            else:
                self.kill_at_work(moment, draw, truth)
        daemon = self.start(*self.OPTIONS)
        self.submitter.end()
        self.assertIsNone(self.submitter.wrong, self.submitter.wrong)
        tensors = self.compare(daemon, truth)
        promised = self.submitter.promised
        for number, name in promised.items():
            self.assertEqual(daemon.wait(number, seconds=300)["name"], name)
        self.assertEqual(len(set(promised.values())), len(promised))
        self.tell(daemon, plan, tensors)

    def tell(self, daemon, plan, tensors):
        kills = ", ".join(f"{plan.count(moment)} {moment}" for moment in sorted(set(plan)))
        starts = sum(daemon.job(number)["starts"] for number in self.numbers)
        began = re.findall(r"job (\d+): \d+ parameters .* update (\d+) of", daemon.log())
        restored = sum(int(job) in self.numbers and update != "0" for job, update in began)
        print(f"{KILLS} kills ({kills}; seed {SEED}): {len(self.numbers)} jobs of six methods, "
              f"{starts - len(self.numbers)} resumes, {restored} of them from a checkpoint, and "
              f"{len(self.submitter.promised)} small jobs: none lost; {len(self.numbers)} "
              f"comparisons of all losses, epochs and {tensors} tensors: no bit differs",
              file=sys.stderr)

    def kill_while_it_starts(self, seconds):
        daemon = self.start(*self.OPTIONS, wait=False)
        time.sleep(seconds)
        daemon.kill()

    def kill_at_work(self, moment, draw, truth):
        daemon = self.start(*self.OPTIONS)
        promised = list(self.submitter.promised)
        self.submitter.target = daemon
        states = [daemon.job(number)["state"] for number in self.numbers + promised]
        self.assertLessEqual(set(states), {"queued", "running", "succeeded"})
        if set(states[:len(self.numbers)]) <= {"succeeded"}:
            self.numbers += [daemon.submit(spec) for spec in jobs()]
        time.sleep(draw.uniform(0, 1.6 * truth.seconds / max(KILLS, 8)))
        if moment == AT_WORK and draw.random() < 0.5:
            self.submitter.wait_for_a_promise(len(promised))
        if moment == WRITING:
            self.wait_for_a_write(daemon)
            time.sleep(draw.uniform(0, 0.003))
        self.submitter.target = None
        daemon.kill()

    def wait_for_a_write(self, daemon):
        """Until the log of checkpoints.db is written to; not for ever, the jobs may all have ended."""
        def written():
            try:
                return os.stat(os.path.join(daemon.state, "checkpoints.db-wal")).st_mtime_ns
            except FileNotFoundError:
                return 0

        before, end = written(), time.monotonic() + 2 * support.SLOW
        while written() == before and time.monotonic() < end:
            time.sleep(0.0002)

    def undisturbed(self):
        start = time.monotonic()
        daemon = self.start(*self.OPTIONS)
        self.start_seconds = time.monotonic() - start
        truth = Truth(daemon)
        daemon.stop()
        os.rename(daemon.state, daemon.state + "-undisturbed")
        return truth

    def compare(self, daemon, truth):
        """How many tensors were looked at."""
        self.assertGreaterEqual(len(self.numbers), len(truth.ends))
        tensors = 0
        for place, number in enumerate(self.numbers):
            found, wanted = outcome(daemon, number), truth.ends[place % len(truth.ends)]
            for part in ("losses", "epochs", "best"):
                self.assertEqual(found[part], wanted[part], f"{part} of job {number}, seed {SEED}")
            # What the run has done (momentum, Fisher numbers, sums) is compared with the weights.
            self.assertEqual(found["checkpoint"], wanted["checkpoint"],
                             f"weights of job {number}, seed {SEED}")
            tensors += len(found["checkpoint"])
        return tensors


if __name__ == "__main__":
    support.run_tests()
