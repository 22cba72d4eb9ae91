#!/usr/bin/env python3
"""quickstart, from its start to its table, with a program that is built already."""

import os
import re
import shutil
import subprocess
import unittest

import support

METHODS = {"sgd": 600, "sam": 1200, "rwp": 600, "arwp": 600, "m-rwp": 1200, "m-arwp": 1200}


def missing():
    """Packages that quickstart would install, which is no test's business."""
    script = '. "$1"; packages_missing "${packages_build[@]}" "${packages_demonstration[@]}" npm'
    packages = os.path.join(support.ROOT, "tools", "packages.sh")
    return subprocess.run(["bash", "-c", script, "bash", packages], capture_output=True,
                          text=True, check=True).stdout.split()


@unittest.skipIf(support.SLOW > 1, "trains for minutes where the program is slow")
@unittest.skipIf(missing(), "would install packages")
class Quickstart(support.Case):
    def setUp(self):
        super().setUp()
        self.root = os.path.join(self.folder, "clone")
        os.makedirs(os.path.join(self.root, "build", "daemon"))
        shutil.copy(os.path.join(support.ROOT, "quickstart"), self.root)
        shutil.copytree(os.path.join(support.ROOT, "tools"), os.path.join(self.root, "tools"))
        os.symlink(support.BINARY, os.path.join(self.root, "build", "daemon", "rwpd"))
        with open(os.path.join(self.root, "build", "build.ninja"), "w", encoding="utf-8") as file:
            file.write("build daemon/rwpd: phony\n")

    def quickstart(self, *options, **variables):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RWPD_")}
        return subprocess.run([os.path.join(self.root, "quickstart"), *options], cwd=self.folder,
                              env={**clean, "RWPD_LISTEN": "127.0.0.1:0", **variables}, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=500)

    def test_six_methods(self):
        # A proxy that does not answer, as in many a laboratory, must not be asked for this machine.
        proxy = {name: "http://127.0.0.1:1" for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY")}
        done = self.quickstart("--exit", RWPD_STATE="state", **proxy)
        self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr[-3000:])
        for method, gradients in METHODS.items():
            row = re.search(rf"^ +{method} +([0-9.]+) .* {gradients}$", done.stdout, re.M)
            self.assertTrue(row, done.stdout)
            self.assertGreater(float(row.group(1)), 50)
        self.assertIn("The daemon has stopped.", done.stdout)
        self.assertTrue(os.path.exists(os.path.join(self.folder, "state", "rwpd.db")))
        self.assertFalse(os.path.exists(os.path.join(self.folder, "state", "listen")))

    def test_what_cannot_work_is_told(self):
        for options, variables, says in ((["--seeds", "0"], {}, "from 1 to 30"),
                                         (["--nonsense"], {}, "no option"),
                                         (["--exit"], {"RWPD_LISTEN": "nowhere"}, "ADDRESS:PORT"),
                                         (["--exit"], {"RWPD_STATE": "/dev/null"}, "not a folder")):
            done = self.quickstart(*options, **variables)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(says, done.stderr)


if __name__ == "__main__":
    support.run_tests()
