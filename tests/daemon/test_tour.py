#!/usr/bin/env python3
"""The README's tour with curl, its probes and its sweep, as they stand there, against a fresh daemon."""

import os
import re
import shutil
import subprocess
import unittest

import support

README = os.path.join(support.ROOT, "README.md")


def blocks(section):
    """The ```sh blocks under a heading, up to the next heading of its level."""
    with open(README, encoding="utf-8") as file:
        text = file.read()
    found = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    return re.findall(r"^```sh\n(.*?)^```$", found.group(1), re.M | re.S) if found else []


@unittest.skipUnless(shutil.which("curl"), "needs curl")
class Tour(support.Case):
    def test_each_step_works(self):
        steps = blocks("A tour with curl") + blocks("Probes") + blocks("Sweeps")
        self.assertGreater(len(steps), 4)
        daemon = self.start()
        environment = {**os.environ, "RWPD": f"http://127.0.0.1:{daemon.port}"}
        # One shell, so that a step sees the variables of those before it.
        script = "".join(f"echo '--- step {number}' >&2\n{step}\n"
                         for number, step in enumerate(steps, 1))
        done = subprocess.run(["bash", "-e", "-u", "-o", "pipefail", "-c", script], cwd=self.folder,
                              env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=300 * support.SLOW)
        self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr[-3000:])


if __name__ == "__main__":
    support.run_tests()
