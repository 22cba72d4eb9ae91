"""What the tests of the dashboard share: a browser, a daemon, waiting for what the page shows."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "daemon"))

import support  # noqa: E402
from browser import Browser, Trouble  # noqa: E402

TAB, ENTER, ESCAPE, DOWN, RIGHT = "\ue004", "\ue007", "\ue00c", "\ue015", "\ue014"
SERVED = "return document.querySelector(arguments[0])?.textContent ?? ''"
POINTS = "return Number(document.querySelector(`[data-chart=${arguments[0]}]`)?.dataset.points ?? 0)"
# How many pixels of a chart's canvas are neither empty nor the colour of grid and axes.
INK = """
const canvas = document.querySelector(`[data-chart=${arguments[0]}] canvas`);
const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
let ink = 0;
for (let i = 0; i < data.length; i += 4) {
  const spread = Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]);
  if (data[i + 3] > 100 && spread > 40) ink++;
}
return ink;"""
OVERFLOW = "return document.documentElement.scrollWidth - window.innerWidth"
FOREIGN = """
return performance.getEntriesByType("resource").map((e) => e.name)
  .filter((name) => !name.startsWith(location.origin + "/"))"""


class PageCase(support.Case):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()

    def setUp(self):
        super().setUp()
        self.expected = ()  # parts of complaints that the test provokes
        self.browser.size(1400, 900)
        self.browser.colours("light")

    def tearDown(self):
        folder = os.environ.get("RWPD_TEST_PICTURES")
        if folder:
            self.browser.picture(os.path.join(folder, self.id().split(".")[-1] + ".png"))
        foreign = self.browser.run(FOREIGN)
        self.browser.go("about:blank")  # ends its streams before the daemon is stopped
        complaints = [line for line in self.browser.complaints()
                      if not any(part in line for part in self.expected)]
        super().tearDown()
        self.assertEqual(complaints, [])
        self.assertEqual(foreign, [])

    def open(self, daemon, path="/"):
        self.browser.go(f"http://127.0.0.1:{daemon.port}{path}")

    def wait(self, what, script, *arguments, seconds=60):
        return self.browser.wait(what, script, *arguments, seconds=seconds * support.SLOW)

    def wait_text(self, selector, part):
        self.wait(f"{part!r} in {selector}", "return (document.querySelector(arguments[0])?.innerText"
                  " ?? '').includes(arguments[1])", selector, part)

    def wait_live(self):
        self.wait_text("#link", "live")

    def wait_points(self, chart, points):
        self.wait(f"{points} points in {chart}", POINTS + " >= arguments[1]", chart, points)


def main(case):
    """Runs the tests of a class, or those that are named."""
    names = sys.argv[1:]
    loader = unittest.defaultTestLoader
    suite = (loader.loadTestsFromNames(names, case) if names
             else loader.loadTestsFromTestCase(case))
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    # A test may fail and then its end, too; a browser that does not start fails before any test.
    bad = {each.id() for each, _ in result.failures + result.errors}
    print(f"{max(0, result.testsRun - len(bad))} passed, {len(bad)} failed")
    return 1 if bad else 0


def run(case):
    try:
        sys.exit(main(case))
    except Trouble as trouble:
        sys.exit(f"{trouble}\n0 passed, 1 failed")
