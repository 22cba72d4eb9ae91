#!/usr/bin/env python3
"""Probes and sweeps on the dashboard, in a real headless Chromium against a real daemon that
measures tiny models. What the page shows is held against the API's numbers and its own pixels.

    RWPD_BINARY=build/daemon/rwpd tests/web/test_results.py

Needs what test_page.py needs, and ends like it.
"""

import re

from page_case import ENTER, INK, OVERFLOW, RIGHT, SERVED, PageCase, run, support

LANDSCAPE = {"kind": "landscape", "samples": 40, "x": {"points": 7},
             "y": {"direction": "random", "points": 5, "from": -0.5, "to": 0.5}}
SPECTRUM = {"kind": "spectrum", "samples": 40, "runs": 2, "steps": 12, "top_k": 3, "trace_draws": 5}

TILES = """
return Object.fromEntries([...document.querySelectorAll(".result .tile")]
  .map((tile) => [tile.children[0].textContent, [...tile.children].slice(1).map((e) => e.textContent)]))"""
# The colours of a map at two places of its plane, given as shares from the left and from below.
COLOURS = """
const canvas = document.querySelector(`[data-chart=${arguments[0]}] canvas`);
const ratio = canvas.width / canvas.clientWidth, pen = canvas.getContext("2d");
const [left, right, top, bottom] = [46, 66, 8, 36];
return arguments[1].map(([across, up]) => {
  const x = left + 2 + across * (canvas.clientWidth - left - right - 4);
  const y = top + 2 + (1 - up) * (canvas.clientHeight - top - bottom - 4);
  return [...pen.getImageData(Math.round(x * ratio), Math.round(y * ratio), 1, 1).data];
});"""
KINDS_OF_INK = """
const canvas = document.querySelector(`[data-chart=${arguments[0]}] canvas`);
const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
const colours = new Set();
for (let i = 0; i < data.length; i += 4) colours.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
return colours.size;"""
SET = """
const field = [...document.querySelectorAll(".ask .field")]
  .find((label) => label.firstChild.textContent === arguments[0]);
const control = field.querySelector("input, select");
if (control.type === "checkbox") control.checked = arguments[1];
else control.value = arguments[1];
control.dispatchEvent(new Event("change", { bubbles: true }));"""
CELLS = """
return [...document.querySelectorAll(`${arguments[0]} tbody tr`)]
  .map((row) => [...row.children].map((cell) => cell.innerText))"""
HEADS = "return [...document.querySelectorAll(`${arguments[0]} thead th`)].map((h) => h.innerText)"


def number(text):
    """What a person reads, as a number: −1.234, 12.3 %, ± 0.5."""
    found = re.search(r"[−-]?\d[\d\u202f.]*(e[−+]?\d+)?", text)
    value = float(found.group().replace("−", "-").replace("\u202f", ""))
    return value / 100 if "%" in text else value


class Results(PageCase):
    def close_to(self, shown, value, digits=4):
        """Rounded, as it is shown."""
        self.assertLess(abs(number(shown) - value), 0.51 * 10 ** (1 - digits) * max(abs(value), 1e-9)
                        + (0.0006 if "%" in shown else 0), f"{shown} is not {value}")

    def trained(self, daemon, **changes):
        number = daemon.submit(support.job("m-rwp", **changes))
        daemon.wait(number)
        return number

    def ask(self, daemon, job, probe):
        return daemon.post(f"/v1/jobs/{job}/probes", probe, 201)["number"]

    def measured(self, daemon, job, number, state="succeeded"):
        """The probe, once it has ended."""
        self.wait(f"the end of probe {number}",
                  "return document.querySelector(`tr[data-probe='${arguments[0]}']`)?.dataset.state"
                  " === arguments[1]", number, state)
        probe = daemon.get(f"/v1/jobs/{job}/probes/{number}")
        self.assertEqual(probe["state"], state, probe["reason"])
        return probe

    def links(self):
        return self.browser.run("return [...document.querySelectorAll('.csv a')]"
                                ".map((a) => a.getAttribute('href'))")

    # ---- probes ----

    def test_spectrum_is_drawn_as_the_daemon_says(self):
        daemon = self.start()
        job = self.trained(daemon)
        self.open(daemon, f"/#/jobs/{job}")
        self.wait_text(".probes", "None yet")
        asked = self.ask(daemon, job, SPECTRUM)  # not by the page, which hears of it
        probe = self.measured(daemon, job, asked)
        summary = probe["summary"]
        self.wait_text("[data-chart=spectrum] .legend", "density")
        self.wait_text("[data-chart=spectrum] .legend", "nodes")
        self.wait("ink", INK.replace("return ink;", "return ink > 300;"), "spectrum")
        rows = {table["name"]: table["rows"] for table in probe["tables"]}
        self.wait_points("spectrum", rows["density"])
        tiles = self.browser.run(TILES)
        for title, name in (("λ max", "lambda_max"), ("λ min", "lambda_min"), ("Trace", "trace"),
                            ("Loss", "loss")):
            self.close_to(tiles[title][0], summary[name])
        self.close_to(tiles["Trace"][1], summary["trace_standard_error"], 2)
        self.close_to(tiles["Hessian products"][0], summary["products"], 9)
        values = daemon.get(f"{probe['url']}/tables/eigenvalues")["rows"]
        shown = self.browser.run(CELLS, ".side")
        self.assertEqual(len(shown), 3)
        for cells, row in zip(shown, values):
            self.close_to(cells[1], row["value"], 6)
        links = self.links()
        self.assertEqual(len(links), sum(1 for n in rows.values() if n))
        for link in links:
            text = daemon.expect(200, "GET", link).body.decode()
            name = link.split("/")[-1].split("?")[0]
            self.assertEqual(len(text.splitlines()), rows[name] + 1)

    def test_landscape_is_drawn_as_the_daemon_says(self):
        daemon = self.start()
        self.expected = ("Multiple readback",)  # of pixels, by the test itself
        job = self.trained(daemon)
        asked = self.ask(daemon, job, LANDSCAPE)
        self.open(daemon, f"/#/jobs/{job}/probes/{asked}")
        probe = self.measured(daemon, job, asked)
        points = daemon.get(f"{probe['url']}/tables/points")["rows"]
        self.assertEqual(len(points), 35)
        for chart in ("landscape-loss", "landscape-accuracy"):
            self.wait_points(chart, 35)
            self.assertGreater(self.browser.run(KINDS_OF_INK, chart), 100)
        summary, tiles = probe["summary"], self.browser.run(TILES)
        self.close_to(tiles["Lowest loss"][0], summary["loss_min"])
        self.close_to(tiles["Highest loss"][0], summary["loss_max"])
        # The corner with the highest loss is lighter than that with the lowest.
        corners = sorted((points[at]["loss"], at % 7 // 6, at // 7 // 4) for at in (0, 6, 28, 34))
        low, high = self.browser.run(COLOURS, "landscape-loss",
                                     [corners[0][1:], corners[-1][1:]])
        self.assertEqual((low[3], high[3]), (255, 255))
        self.assertGreater(sum(high[:3]), sum(low[:3]))
        # The arrow keys go from the checkpoint, the point in the middle, to the one at its right.
        self.browser.run("document.querySelector('[data-chart=landscape-loss] canvas').focus()")
        self.browser.keys(RIGHT)
        self.wait_text("[data-chart=landscape-loss] .reading", "loss")
        reading = self.browser.run(SERVED, "[data-chart=landscape-loss] .reading")
        place = [number(part) for part in re.findall(r"[xy] [−\d.e]+", reading)]
        right = points[2 * 7 + 4]
        for shown, name in zip(place, "xy"):
            self.assertAlmostEqual(shown, right[name], delta=0.005)
        self.close_to(re.search(r"loss \S+", reading).group().rstrip(","), right["loss"])
        self.close_to(re.search(r"accuracy .*", reading).group(), right["top1"])
        label = "return document.querySelector('[data-chart=landscape-loss] canvas').ariaLabel"
        self.wait("words for who does not see it", label + ".includes('35 of 35')")
        pressed = ("return document.querySelector('[data-chart=landscape-loss] .chart-tools button')"
                   ".ariaPressed")
        before = self.browser.run(pressed)
        self.browser.click("[data-chart=landscape-loss] .chart-tools button")
        self.wait("the other scale", pressed + " !== arguments[0]", before)

    def test_line_radius_and_sharpness(self):
        daemon = self.start()
        job = self.trained(daemon)
        line = self.ask(daemon, job, {"kind": "landscape", "samples": 40, "x": {"points": 5}})
        radius = self.ask(daemon, job, {"kind": "radius", "samples": 40, "points": 4, "draws": 2,
                                        "suggest": True})
        sharpness = self.ask(daemon, job, {"kind": "sharpness", "samples": 40, "draws": 2})
        self.open(daemon, f"/#/jobs/{job}")
        summary = self.measured(daemon, job, sharpness)["summary"]
        self.wait("its table", "return document.querySelectorAll('.side tbody tr').length === 3")
        cells = self.browser.run(CELLS, ".side")
        self.close_to(cells[1][3], summary["worst_rise"])
        self.close_to(cells[2][3], summary["average_rise"])
        self.browser.click(f"tr[data-probe='{radius}'] a")
        probe = self.measured(daemon, job, radius)
        self.wait_points("radius", 4)
        self.wait("ink", INK.replace("return ink;", "return ink > 100;"), "radius")
        for name in ("random", "filter-wise", "adversarial"):
            self.wait_text("[data-chart=radius] .legend", name)
        self.wait_text(".message", probe["message"].split("\n")[0])
        if probe["summary"]["suggested_sigma"] is not None:
            self.close_to(self.browser.run(TILES)["Suggested σ"][0],
                          probe["summary"]["suggested_sigma"], 3)
        self.browser.click(f"tr[data-probe='{line}'] a")
        self.measured(daemon, job, line)
        for chart in ("landscape-loss", "landscape-accuracy"):
            self.wait_points(chart, 5)
            self.wait("ink", INK.replace("return ink;", "return ink > 100;"), chart)

    def test_form_asks_by_keys_and_says_what_is_wrong(self):
        daemon = self.start()
        self.expected = ("422",)
        job = self.trained(daemon)
        self.open(daemon, f"/#/jobs/{job}")
        self.wait_text(".probes", "None yet")
        self.browser.run("document.querySelector('.section-head button').focus()")
        self.browser.keys(ENTER)
        self.wait("the form", "return document.activeElement.name === 'kind'")
        self.browser.run(SET, "measure", "landscape")
        self.browser.run(SET, "y direction", "gradient")
        for field, value in (("x points", 3), ("y points", 2), ("samples", -3)):
            self.browser.run(SET, field, value)
        self.browser.click(".ask [type=submit]")
        refused = daemon.post(f"/v1/jobs/{job}/probes", {"kind": "landscape", "samples": -3}, 422)
        self.wait_text(".errors", refused["detail"])
        self.wait_text(".errors", refused["errors"][0]["detail"])
        self.assertEqual(self.browser.run("return [...document.querySelectorAll('[aria-invalid=true]')]"
                                          ".map((e) => e.closest('label').innerText.trim())"),
                         ["samples"])
        self.browser.run(SET, "samples", 30)
        self.browser.click(".ask [type=submit]")
        request = self.measured(daemon, job, 1)["request"]
        self.assertEqual((request["samples"], request["x"]["points"], request["y"]["points"],
                          request["y"]["direction"]), (30, 3, 2, "gradient"))
        self.wait_points("landscape-loss", 6)
        self.wait("its address", "return location.hash === `#/jobs/${arguments[0]}/probes/1`", job)

    def test_progress_of_a_probe_and_its_end_by_a_click(self):
        daemon = self.start()
        job = self.trained(daemon, epochs=1, dataset={"kind": "digits", "train_limit": 1000})
        self.open(daemon, f"/#/jobs/{job}")
        self.wait_text(".probes", "None yet")
        # Long enough on any machine: ninety million samples.
        endless = self.ask(daemon, job, {"kind": "landscape", "samples": 1000, "x": {"points": 300},
                                         "y": {"direction": "random", "points": 300}})
        bar = f"return document.querySelector(\"tr[data-probe='{endless}'] progress\").value"
        self.wait("the probe", f"return document.querySelector(\"tr[data-probe='{endless}']\")")
        self.wait("progress", bar + " > 0")
        self.wait("points that are drawn while others are measured", "return Number(document"
                  ".querySelector('[data-chart=landscape-loss]')?.dataset.points ?? 0) > 0")
        self.browser.click(f"tr[data-probe='{endless}'] button")
        self.measured(daemon, job, endless, "cancelled")

    # ---- sweeps ----

    def test_sweep_is_a_table_by_point(self):
        daemon = self.start()
        base = support.job("rwp", probes=[{"kind": "sharpness", "samples": 20, "draws": 2}])
        del base["seed"], base["name"]
        sweep = daemon.post("/v1/sweeps", {"name": "noise", "job": base, "grid": {
            "/method/sigma": [0.02, 0.1], "/seed": [1, 2]}}, 201)["id"]
        self.open(daemon)
        self.wait_text("#sweep-rows", "noise")
        self.browser.click(f"a[data-sweep='{sweep}']")
        self.wait_text("#job h1", "noise")
        self.wait_text(".badge", "succeeded")
        self.wait_text(".where", "4 of 4 jobs succeeded")
        self.wait_text(".sweep thead", "Worst rise")
        # Probes end after their jobs.
        self.wait("all rises", "const at = [...document.querySelectorAll('.sweep thead th')]"
                  ".findIndex((h) => h.innerText.startsWith('Worst rise'));"
                  "return [...document.querySelectorAll('.sweep tbody tr')]"
                  ".every((row) => row.children[at].innerText.includes('±'))")
        shown = daemon.get(f"/v1/sweeps/{sweep}")
        heads = [head.strip("▴▾ \n") for head in self.browser.run(HEADS, ".sweep")]
        cells = self.browser.run(CELLS, ".sweep")
        self.assertEqual(len(cells), 2)
        for row, values in zip(cells, shown["rows"]):
            cell = dict(zip(heads, row))
            self.assertEqual(number(cell["method sigma"]), values["values"]["/method/sigma"])
            self.close_to(cell["Training loss"], values["train_loss"]["mean"], 3)
            self.close_to(cell["Test acc."], values["test_top1"]["mean"], 3)
            self.close_to(cell["Worst rise"],
                          values["probes"]["sharpness"]["worst_rise"]["mean"], 3)
        order = sorted((row["train_loss"]["mean"], row["values"]["/method/sigma"])
                       for row in shown["rows"])
        column = heads.index("Training loss") + 1
        for direction, wanted in (("ascending", order), ("descending", order[::-1])):
            self.browser.click(f".sweep thead th:nth-child({column}) button")
            self.wait(direction, "return document.querySelector(`.sweep th:nth-child(${arguments[0]})`)"
                      ".ariaSort === arguments[1]", column, direction)
            self.assertEqual([number(row[0]) for row in self.browser.run(CELLS, ".sweep")],
                             [sigma for _, sigma in wanted])
        # The first words of a job's row are what tells it from the others.
        names = self.browser.run("return [...document.querySelectorAll('a.row[data-job] .name')]"
                                 ".map((name) => name.innerText)")
        self.assertEqual(len(set(names)), 4)
        for name, job in zip(names, daemon.jobs()):
            self.assertEqual(job["name"], f"noise: {name}")
        self.browser.click(".sweep tbody a")
        self.wait("a job's address", "return location.hash.startsWith('#/jobs/')")
        self.browser.click(".sweep-link")
        self.wait("the sweep again", "return document.querySelector('.sweep tbody tr')")

    def test_sweep_is_paused_resumed_and_cancelled(self):
        daemon = self.start()
        base = support.long_job()
        del base["seed"], base["name"]
        sweep = daemon.post("/v1/sweeps", {"name": "long", "job": base,
                                           "grid": {"/seed": [1, 2]}}, 201)["id"]
        self.open(daemon, f"/#/sweeps/{sweep}")
        self.wait_text(".where", "1 running")
        self.browser.click("[data-action=pause]")
        self.wait_text(".badge", "paused")
        self.browser.click("[data-action=resume]")
        self.wait_text(".badge", "running")
        self.browser.click("[data-action=cancel]")
        self.wait_text("#sure", "all of its jobs")
        self.browser.click("#sure [value=cancel]")
        self.wait_text(".badge", "cancelled")
        self.assertEqual(daemon.get(f"/v1/sweeps/{sweep}")["jobs"]["cancelled"], 2)
        self.expected = ("404",)  # the page may ask once more
        self.browser.click("[data-action=delete]")
        self.wait_text("#sure", "all of its jobs are removed")
        self.browser.click("#sure [value=delete]")
        self.wait("no rows", "return !document.querySelector('a.row')")
        daemon.get(f"/v1/sweeps/{sweep}", 404)

    def test_sweep_that_is_not_there(self):
        daemon = self.start()
        self.expected = ("404",)
        self.open(daemon, "/#/sweeps/99")
        self.wait_text("#job", "There is no such sweep")

    # ---- how it looks ----

    def test_phone_width_and_colours(self):
        daemon = self.start()
        job = self.trained(daemon)
        landscape = self.ask(daemon, job, LANDSCAPE)
        spectrum = self.ask(daemon, job, SPECTRUM)
        base = support.job("rwp")
        del base["seed"], base["name"]
        daemon.post("/v1/sweeps", {"name": "a-rather-long-name-" * 8, "job": base, "grid": {
            "/method/sigma": [0.02, 0.1], "/seed": [1, 2]}}, 201)
        for width in (320, 390, 1024):
            self.browser.size(width, 800, phone=width < 500)
            for path, chart in ((f"/#/jobs/{job}/probes/{landscape}", "landscape-loss"),
                                (f"/#/jobs/{job}/probes/{spectrum}", "spectrum"),
                                ("/#/sweeps/1", None)):
                self.open(daemon, path)
                if chart:
                    self.wait_points(chart, 35)
                    self.browser.click(".section-head button")
                    self.wait("the form", "return document.querySelector('.ask .field')")
                else:
                    self.wait("the table", "return document.querySelector('.sweep tbody tr')")
                self.assertLessEqual(self.browser.run(OVERFLOW), 0, f"{path} at {width}")
        self.open(daemon, f"/#/jobs/{job}/probes/{landscape}")
        self.wait_points("landscape-loss", 35)
        picture = "return document.querySelector('[data-chart=landscape-loss] canvas').toDataURL()"
        light = self.browser.run(picture)
        self.browser.colours("dark")
        self.wait("the axes in the dark's colours", picture + " !== arguments[0]", light)


if __name__ == "__main__":
    run(Results)
