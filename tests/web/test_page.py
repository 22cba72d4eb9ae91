#!/usr/bin/env python3
"""The dashboard in a real headless Chromium against a real daemon.

    RWPD_BINARY=build/daemon/rwpd tests/web/test_page.py

Needs Debian's chromium and chromium-driver. Ends with a line `N passed, N failed`.
RWPD_TEST_PICTURES=FOLDER keeps a picture of the page at the end of each test.
"""

import os
import subprocess
import time

from page_case import (DOWN, ENTER, ESCAPE, INK, OVERFLOW, SERVED, TAB, POINTS, PageCase, run, support)

LAST = "return Number(document.querySelector(`[data-chart=${arguments[0]}]`)?.dataset.last ?? 0)"
SCALE = "return document.querySelector('[data-chart=loss] .chart-tools button').getAttribute('aria-pressed')"
STATES = "return [...document.querySelectorAll('a.row[data-job]')].map((row) => row.dataset.state)"
HIGHER = """
return document.documentElement.scrollHeight - document.documentElement.clientHeight"""
FETCHED = """
return performance.getEntriesByType("resource").filter((e) => e.name.includes(arguments[0])).length"""


def slow_job(**changes):
    """Goes on until somebody ends it, with an epoch every few moments."""
    return support.job("m-arwp", **{"name": "slow", "epochs": 100000,
                                    "evaluate": {"every_epochs": 20}, **changes})


def many_jobs(daemon, n):
    """`n` jobs of a sweep that stay queued behind a running one."""
    running = daemon.submit(slow_job(name="under way"))
    daemon.wait(running, "running")
    base = support.job("sgd")
    del base["seed"], base["name"]
    daemon.post("/v1/sweeps", {"name": "many", "job": base, "grid": {"/seed": list(range(n))}}, 201)
    return running


class Page(PageCase):
    # ---- what is shown ----

    def test_empty_page_shows_a_line_that_works(self):
        daemon = self.start()
        self.open(daemon)
        self.wait_live()
        line = self.wait("the line", "return document.querySelector('#empty pre')?.textContent")
        subprocess.run(["bash", "-c", line], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=60)
        self.wait_text("#rows", "first")
        self.assertEqual(self.browser.run("return document.querySelectorAll('#empty pre').length"), 0)
        daemon.wait(1)
        self.wait_text("a.row[data-job='1'] .best", "%")

    def test_list_shows_states_and_progress(self):
        daemon = self.start()
        done = daemon.submit(support.job("sgd", name="done soon"))
        daemon.wait(done)
        running = daemon.submit(slow_job(name="under way"))
        waiting = daemon.submit(support.job("sam", name="<b>waiting & seeing</b>"))
        daemon.wait_update(running, 5)
        self.open(daemon)
        self.wait_text("#rows", "under way")
        states = self.browser.run("return [...document.querySelectorAll('a.row')]"
                                  ".map((row) => [Number(row.dataset.job), row.dataset.state])")
        self.assertEqual(states, [[waiting, "queued"], [running, "running"], [done, "succeeded"]])
        self.wait_text(f"a.row[data-job='{waiting}'] .name", "<b>waiting & seeing</b>")
        for counted in ("1 running", "1 queued", "1 succeeded"):
            self.wait_text("#counts", counted)
        progress = "return document.querySelector(`a.row[data-job='${arguments[0]}'] progress`).value"
        before = self.browser.run(progress, running)
        self.wait("progress to move", progress.replace("return ", "return (") + ") > arguments[1]",
                  running, before)
        # Without a choice the page shows what runs.
        self.wait_text("#job h1", "under way")
        daemon.post(f"/v1/jobs/{running}/cancel")
        self.wait("the cancelled state", "return document.querySelector("
                  "`a.row[data-job='${arguments[0]}']`).dataset.state === 'cancelled'", running)
        daemon.wait(waiting)
        self.wait("the last one's end", "return document.querySelector("
                  "`a.row[data-job='${arguments[0]}']`).dataset.state === 'succeeded'", waiting)

    def test_counts_are_of_all_jobs_and_filter_the_list(self):
        daemon = self.start()
        first = daemon.submit(support.job("sgd", name="done before"))
        daemon.wait(first)
        running = many_jobs(daemon, 120)
        self.open(daemon)
        # What runs is older than the newest page of the list.
        self.wait_text("#job h1", "under way")
        for counted in ("1 running", "120 queued", "1 succeeded"):
            self.wait_text("#counts", counted)
        self.assertEqual(self.browser.run(STATES), ["queued"] * 50 + ["running"])
        self.browser.click("#counts [data-count=succeeded]")
        self.wait("the one that succeeded alone", STATES + ".join() === 'succeeded'")
        self.browser.click("#counts [data-count=queued]")
        self.wait("those queued alone", STATES + ".join() === Array(50).fill('queued').join()")
        pressed = ("return [...document.querySelectorAll('#counts [aria-pressed=true]')]"
                   ".map((button) => button.dataset.count).join()")
        self.assertEqual(self.browser.run(pressed), "queued")
        for n in (100, 120):
            self.browser.click("#older")
            self.wait(f"{n} of them", STATES + ".join() === Array(arguments[0]).fill('queued').join()", n)
        self.assertTrue(self.browser.run("return document.querySelector('#older').hidden"))
        # By the keyboard, and as things happen.
        newest = daemon.get("/v1/jobs?limit=1")["jobs"][0]["id"]
        daemon.post(f"/v1/jobs/{newest}/cancel")
        self.wait_text("#counts", "1 cancelled")
        self.wait_text("#counts", "119 queued")
        self.wait("119 rows", STATES + ".length === 119")
        self.browser.run("document.querySelector('#counts [data-count=queued]').focus()")
        self.browser.keys(ENTER)
        self.wait("the newest of all", STATES + "[0] === 'cancelled'")
        self.assertEqual(self.browser.run(pressed), "")
        daemon.post("/v1/sweeps/1/cancel")
        daemon.post(f"/v1/jobs/{running}/cancel")
        self.wait_text("#counts", "121 cancelled")
        self.wait_text("#counts", "1 succeeded")
        self.browser.run("document.activeElement.blur()")
        self.wait("no count of none", "return document.querySelector('[data-count=queued]').hidden")

    def test_telemetry_is_drawn_where_there_is_some(self):
        daemon = self.start()
        number = daemon.submit(support.job("m-arwp", telemetry={"every_updates": 2}))
        without = daemon.submit(support.job("m-arwp"))
        daemon.wait(without)
        self.open(daemon, f"/#/jobs/{number}")
        rows = daemon.get(f"/v1/jobs/{number}/telemetry")["telemetry"]
        for chart in ("norms", "cosine"):
            self.wait_points(chart, len(rows))
            self.wait(f"ink in {chart}", INK.replace("return ink;", "return ink > 100;"), chart)
        legend = self.browser.run("return document.querySelector('[data-chart=norms] .legend').innerText")
        for name in ("perturbation_norm", "gradient_norm", "perturbed_gradient_norm"):
            self.assertIn(f"{rows[-1][name]:#.4g}", legend)
        self.wait_text("[data-chart=cosine] .legend", f"{rows[-1]['cosine']:#.3g}".replace("-", "−"))
        csv = f"return document.querySelector('.files a[href*=\"/telemetry?\"]')?.getAttribute('href')"
        self.assertGreater(len(daemon.expect(200, "GET", self.browser.run(csv)).body), 100)
        self.open(daemon, f"/#/jobs/{without}")
        self.wait_points("loss", 15)
        self.assertIsNone(self.browser.run(csv))
        self.assertEqual(self.browser.run("return document.querySelectorAll('.chart').length"), 2)

    def test_telemetry_grows_by_the_stream(self):
        daemon = self.start()
        number = daemon.submit(slow_job(telemetry={"every_updates": 5}))
        self.open(daemon, f"/#/jobs/{number}")
        self.wait_points("norms", 5)
        asked = self.browser.run(FETCHED, "/telemetry")
        self.wait_points("norms", 5 + self.browser.run(POINTS, "norms"))
        self.assertEqual(self.browser.run(FETCHED, "/telemetry"), asked)

    def test_curves_are_drawn_and_grow_by_the_stream(self):
        daemon = self.start()
        number = daemon.submit(slow_job())
        daemon.wait_update(number, 300)
        self.open(daemon, f"/#/jobs/{number}")
        self.wait_points("loss", 100)
        self.wait_points("accuracy", 2)
        for chart in ("loss", "accuracy"):
            self.wait(f"ink in {chart}", INK.replace("return ink;", "return ink > 200;"), chart)
        asked = [self.browser.run(FETCHED, part) for part in ("/losses", "/epochs")]
        last = self.browser.run(LAST, "loss")
        where = self.browser.run(SERVED, ".where")
        self.wait("300 more updates", LAST + " > arguments[1] + 300", "loss", last)
        self.wait("300 more updates", LAST + " > arguments[1] + 300", "accuracy", last)
        self.wait("another update", "return document.querySelector('.where').textContent"
                  " !== arguments[0]", where)
        # They grew by events: the history was not asked for again.
        self.assertEqual([self.browser.run(FETCHED, part) for part in ("/losses", "/epochs")], asked)

    def test_finished_job_shows_what_the_daemon_says(self):
        daemon = self.start()
        number = daemon.submit(support.job("m-rwp", epochs=12))
        daemon.wait(number)
        self.open(daemon, f"/#/jobs/{number}")
        self.wait_points("loss", 60)
        job, last = daemon.job(number), daemon.epochs(number)[-1]
        self.wait_text(".tiles", f"{100 * last['test_top1']:.1f} %")
        self.wait_text(".where", f"update {job['updates']} of {job['updates']}")
        self.wait_text(".badge", "succeeded")
        # Which the list of jobs does not have.
        self.wait_text(".settings", f"{job['facts']['device']} · {job['facts']['precision']}")
        listed = daemon.get(f"/v1/jobs/{number}/messages")["messages"]
        self.assertGreaterEqual(len(listed), 1)
        for message in listed:
            self.wait_text(".facts details:nth-of-type(3)", message["text"])
        for what, cost in (("Forecast", job["estimate"]), ("Measured", job["measured"])):
            self.wait_text(".settings", what)
            self.wait_text(".settings", f"{cost['memory_bytes'] / 1024:.0f} KiB · ")
        buttons = self.browser.run("return [...document.querySelectorAll('.actions button')]"
                                   ".filter((b) => b.offsetParent).map((b) => b.dataset.action)")
        self.assertEqual(buttons, ["delete"])
        self.browser.click(".facts details:last-of-type summary")
        self.wait("a row an epoch", "return document.querySelectorAll('.epochs tbody tr').length === 12")
        links = self.browser.run("return [...document.querySelectorAll('.files a')]"
                                 ".map((a) => a.getAttribute('href'))")
        for link in links:
            self.assertGreater(len(daemon.expect(200, "GET", link).body), 100)
        self.assertTrue(any("/checkpoints/" in link for link in links))

    def test_loss_that_is_no_number(self):
        daemon = self.start()
        spec = support.job("sgd", epochs=50, name="diverges")
        spec["optimizer"] = {"kind": "sgd", "lr": 1000.0}
        number = daemon.submit(spec)
        daemon.wait(number, "failed")
        self.open(daemon, f"/#/jobs/{number}")
        self.wait_text(".badge", "failed")
        self.wait_text(".reason", daemon.job(number)["reason"])
        self.wait_text(".chart .legend", "NaN")
        # There is no checkpoint that a probe could measure.
        self.wait_text(".probes", "ended without a checkpoint")
        self.assertTrue(self.browser.run("return document.querySelector('.section-head button').hidden"))
        # Before that it rose by powers of ten, which only a log scale shows.
        self.wait("the log scale", SCALE + " === 'true'")
        self.browser.click("[data-chart=loss] .chart-tools button")
        self.wait("the linear scale", SCALE + " === 'false'")

    def test_a_failed_job_is_resumed_by_a_click(self):
        daemon = self.start()
        number = daemon.submit(support.job("sgd", epochs=50, optimizer={"kind": "sgd", "lr": 1000.0}))
        daemon.wait(number, "failed")
        daemon.wait(daemon.submit(slow_job()), "running")
        self.open(daemon, f"/#/jobs/{number}")
        self.wait_text(".badge", "failed")
        self.browser.click("[data-action=resume]")
        self.wait_text(".badge", "queued")
        daemon.post("/v1/jobs/2/cancel")
        self.wait_text(".badge", "failed")
        self.assertEqual(daemon.job(number)["starts"], 2)
        self.wait_text(".reason", daemon.job(number)["reason"])

    def test_job_that_is_not_there(self):
        daemon = self.start()
        self.expected = ("404",)
        self.open(daemon, "/#/jobs/99")
        self.wait_text("#job", "There is no such job")

    # ---- what can be done ----

    def test_pause_resume_and_cancel_by_clicks(self):
        daemon = self.start()
        number = daemon.submit(slow_job())
        self.open(daemon, f"/#/jobs/{number}")
        self.wait_text(".badge", "running")
        self.browser.click("[data-action=pause]")
        daemon.wait(number, "paused")
        self.wait_text(".badge", "paused")
        paused_at = daemon.job(number)["updates_done"]
        self.browser.click("[data-action=resume]")
        daemon.wait_update(number, paused_at + 20)
        self.wait_text(".badge", "running")
        self.browser.click("[data-action=cancel]")
        self.browser.click("#sure [value=keep]")
        time.sleep(0.3)
        self.assertEqual(daemon.job(number)["state"], "running")
        self.browser.click("[data-action=cancel]")
        self.browser.click("#sure [value=cancel]")
        daemon.wait(number, "cancelled")
        self.wait_text(".badge", "cancelled")

    def test_an_ended_job_is_deleted_by_clicks(self):
        daemon = self.start()
        self.expected = ("404",)  # the page may be asking for what somebody else deletes
        kept, first, second = [daemon.submit(support.job(name=name)) for name in ("kept", "one", "two")]
        for number in (kept, first, second):
            daemon.wait(number)
        self.open(daemon, f"/#/jobs/{first}")
        self.wait_text(".badge", "succeeded")
        self.wait_text("#rows", "two")
        self.browser.click("[data-action=delete]")
        self.wait_text("#sure", "removed for good")
        self.browser.click("#sure [value=keep]")
        self.assertEqual(daemon.job(first)["state"], "succeeded")
        self.browser.click("[data-action=delete]")
        self.browser.click("#sure [value=delete]")
        self.wait("the list", "return location.hash === '#/'")
        gone = "return !document.querySelector(`a.row[data-job='${arguments[0]}']`)"
        self.wait("no row of it", gone, first)
        daemon.get(f"/v1/jobs/{first}", 404)
        # Somebody else deletes the one that is shown.
        self.browser.run("location.hash = `#/jobs/${arguments[0]}`", second)
        self.wait_text("#job h1", "two")
        daemon.expect(204, "DELETE", f"/v1/jobs/{second}")
        self.wait("no row of it", gone, second)
        self.wait("the list", "return location.hash === '#/'")
        self.wait_text("#job h1", "kept")

    def test_deleting_by_the_keyboard_keeps_the_focus(self):
        daemon = self.start()
        self.expected = ("404",)
        for name in ("one", "two", "three", "four"):
            daemon.wait(daemon.submit(support.job("sgd", name=name)))
        base = support.job("sgd")
        del base["seed"]
        for n in (1, 2, 3):
            daemon.post("/v1/sweeps", {"name": f"sweep {n}", "job": base, "grid": {"/seed": [n]}}, 201)
            daemon.wait(4 + n)
        focus = "return document.activeElement.id"
        # On a phone the list has the place of what was shown.
        for width, pane, paths in ((1400, "job", ("jobs/1", "sweeps/1")),
                                   (390, "jobs", ("jobs/2", "sweeps/2", "jobs/3", "jobs/4"))):
            self.browser.size(width, 800, phone=width < 500)
            for path in paths:
                self.open(daemon, f"/#/{path}")
                self.wait("the button", "return document.querySelector('[data-action=delete]')"
                          "?.offsetParent && location.hash === arguments[0]", f"#/{path}")
                self.wait_text("#job .badge", "succeeded")
                self.browser.run("document.querySelector('[data-action=delete]').focus()")
                self.browser.keys(ENTER + TAB + ENTER)
                self.wait("the list", "return location.hash === '#/'")
                self.wait(f"the focus in {path}'s place", focus + " === arguments[0]", pane)
                daemon.get(f"/v1/{path}", 404)
                time.sleep(0.5)  # the row goes, and the focus stays
                self.assertEqual(self.browser.run(focus), pane)
        # The last of all; its job may be listed for a moment.
        self.open(daemon, "/#/sweeps/3")
        self.wait_text("#job h1", "sweep 3")
        self.browser.run("document.querySelector('[data-action=delete]').focus()")
        self.browser.keys(ENTER + TAB + ENTER)
        self.wait("the focus where there is no job", focus + " === 'empty'")
        self.wait_text("#empty", "No job yet")

    def test_what_has_no_name_is_called_by_its_number(self):
        daemon = self.start()
        self.expected = ("404",)
        base = support.job("sgd")
        del base["name"], base["seed"]
        daemon.wait(daemon.submit(base))
        daemon.post("/v1/sweeps", {"job": base, "grid": {"/seed": [1]}}, 201)
        daemon.wait(2)
        for path, name in (("jobs/1", "job 1"), ("sweeps/1", "sweep 1")):
            self.open(daemon, f"/#/{path}")
            self.wait_text("#job h1", name)
            self.wait_text("#job .badge", "succeeded")
            self.browser.click("[data-action=delete]")
            self.wait_text("#sure-text", f"“{name}” and all")
            self.browser.click("#sure [value=delete]")
            self.wait("what is spoken", SERVED + " === arguments[1]", "#spoken", f"{name}: deleted")
        slow = slow_job()
        del slow["name"]
        number = daemon.submit(slow)
        self.wait("the title", "return document.title.includes(arguments[0])", f"job {number} · rwpd")
        self.browser.click(f"a.row[data-job='{number}']")
        self.wait_text("#job .badge", "running")
        self.browser.click("[data-action=pause]")
        self.wait("what is spoken", SERVED + " === arguments[1]", "#spoken", f"job {number} is paused")

    def test_rows_that_go_together_leave_the_focus_to_one_that_stays(self):
        daemon = self.start()
        many_jobs(daemon, 120)
        daemon.post("/v1/sweeps/1/cancel")
        self.open(daemon)
        self.wait("a page of rows", STATES + ".length === 51")
        self.browser.click("#older")
        self.wait("two pages of rows", STATES + ".length === 101")
        self.browser.run("document.querySelectorAll('#rows a.row')[50].focus()")
        daemon.expect(204, "DELETE", "/v1/sweeps/1")
        self.wait("no row of it", STATES + ".join() === 'running'")
        self.assertEqual(self.browser.run("return document.activeElement.dataset.state"), "running")

    def test_keyboard_alone(self):
        daemon = self.start()
        first = daemon.submit(slow_job(name="one"))
        second = daemon.submit(slow_job(name="two"))
        self.open(daemon)
        self.wait_text("#rows", "two")
        self.browser.run("document.querySelector('a.row').focus()")
        self.browser.keys(DOWN + ENTER)
        self.wait("the older job's address", "return location.hash === `#/jobs/${arguments[0]}`", first)
        self.wait_text("#job h1", "one")
        focus = "return document.activeElement.dataset.action ?? ''"
        for _ in range(30):
            self.browser.keys(TAB)
            if self.browser.run(focus) == "cancel":
                break
        self.assertEqual(self.browser.run(focus), "cancel")
        self.browser.keys(ENTER)
        self.wait("the question", "return document.querySelector('#sure').open")
        self.browser.keys(ESCAPE)
        self.wait("no question", "return !document.querySelector('#sure').open")
        self.assertEqual(daemon.job(first)["state"], "running")
        self.browser.run("document.querySelector('[data-action=cancel]').focus()")
        self.browser.keys(ENTER + TAB + ENTER)
        daemon.wait(first, "cancelled")
        daemon.wait(second, "running")

    # ---- when things go wrong ----

    def test_daemon_dies_and_comes_back(self):
        daemon = self.start()
        self.expected = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING",
                         "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "ERR_SOCKET_NOT_CONNECTED")
        spec = slow_job()
        spec["checkpoint"] = {"every_epochs": 20, "keep": 2}
        number = daemon.submit(spec)
        daemon.wait_update(number, 300)
        self.open(daemon, f"/#/jobs/{number}")
        self.wait_points("loss", 200)
        daemon.kill()
        self.wait_text("#link", "offline")
        self.wait_text("#banner", "does not answer")
        blocked = ("return [...document.querySelectorAll('#job .actions button')]"
                   ".every((button) => button.hidden || button.disabled)")
        self.wait("buttons that cannot be pressed", blocked)
        again = self.start("--listen", f"127.0.0.1:{daemon.port}")
        self.wait_live()
        shown = again.wait_update(number, 400)
        self.wait("updates after the break", "return Number(document.querySelector('.where').textContent"
                  ".replace(/[^0-9 ]/g, '').trim().split(/\\s+/)[0]) > arguments[0]",
                  shown["updates_done"])
        self.assertEqual(self.browser.run("return document.querySelectorAll('a.row').length"), 1)
        self.wait("no complaint", "return document.querySelector('#banner').hidden")
        self.assertFalse(self.browser.run(blocked))

    def test_daemon_comes_back_with_another_state_folder(self):
        daemon = self.start()
        self.expected = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING",
                         "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "ERR_SOCKET_NOT_CONNECTED",
                         "404")
        for name in ("one", "two", "three"):
            daemon.wait(daemon.submit(support.job("sgd", name=name)))
        self.open(daemon, "/#/jobs/3")
        self.wait_points("loss", 15)
        self.wait("three rows", STATES + ".length === 3")
        daemon.expect(204, "DELETE", "/v1/jobs/2")
        self.wait("two rows", STATES + ".length === 2")
        daemon.stop()
        other = os.path.join(self.folder, "other")
        os.mkdir(other)
        again = support.Daemon(other, "--listen", f"127.0.0.1:{daemon.port}")
        self.daemons.append(again)
        self.wait_live()
        self.wait_text("#job", "There is no such job")
        self.wait("no row", STATES + ".length === 0")
        for name in ("first", "second"):
            again.wait(again.submit(support.job("sgd", name=name)))
        self.wait("two rows", STATES + ".join() === 'succeeded,succeeded'")
        self.browser.click("a.row[data-job='2']")
        self.wait_text("#job h1", "second")
        self.wait_points("loss", 15)

    def test_login_where_a_token_is_asked_for(self):
        path = os.path.join(self.folder, "token")
        with open(path, "w", encoding="ascii") as file:
            file.write("a-token-that-nobody-guesses-0123456789\n")
        os.chmod(path, 0o600)
        daemon = self.start("--token-file", path)
        daemon.token = "a-token-that-nobody-guesses-0123456789"
        self.expected = ("401",)
        number = daemon.submit(slow_job(name="behind the door"))
        self.open(daemon)
        self.wait("the login", "return document.querySelector('input[name=token]')")
        self.browser.run("document.querySelector('input[name=token]').focus()")
        self.browser.keys(daemon.token + ENTER)
        self.wait_live()
        self.wait_text("#rows", "behind the door")
        self.open(daemon, f"/#/jobs/{number}")
        self.wait_points("loss", 50)
        self.browser.go("about:blank")  # or the page would see itself logged out
        self.browser.devtools("Network.clearBrowserCookies")

    # ---- how it looks ----

    def test_panes_scroll_and_the_document_does_not(self):
        daemon = self.start()
        running = many_jobs(daemon, 60)
        rows = "return document.querySelectorAll('a.row[data-job]').length"
        for path in ("/#/", f"/#/jobs/{running}", "/#/sweeps/1"):
            self.browser.size(1280, 900)
            self.open(daemon, path)
            self.wait("a page of rows", rows + " >= 50")
            self.wait("what is chosen", "return document.querySelector('#job h1')")
            self.assertEqual(self.browser.run(HIGHER), 0, path)
            self.assertLessEqual(self.browser.run(OVERFLOW), 0, path)

    def test_phone_width_and_colours(self):
        daemon = self.start()
        number = daemon.submit(slow_job(name="a-rather-long-name-" * 8))
        daemon.wait_update(number, 200)
        for width in (320, 390, 700, 1024):
            self.browser.size(width, 800, phone=width < 500)
            for path in ("/#/", f"/#/jobs/{number}"):
                self.open(daemon, path)
                self.wait_text("#rows" if path == "/#/" and width < 900 else "#job h1", "a-rather")
                self.assertLessEqual(self.browser.run(OVERFLOW), 0, f"{path} at {width}")
        self.wait_points("loss", 50)
        background = "return getComputedStyle(document.body).backgroundColor"
        light = self.browser.run(background)
        self.browser.colours("dark")
        self.wait("dark colours", background + " !== arguments[0]", light)
        self.wait("ink in the dark", INK.replace("return ink;", "return ink > 200;"), "loss")

    def test_files_are_served_strictly(self):
        daemon = self.start()
        page = daemon.expect(200, "GET", "/")
        policy = page.headers["Content-Security-Policy"]
        for word in ("unsafe-inline", "unsafe-eval", "http:", "*"):
            self.assertNotIn(word, policy)
        self.assertIn("frame-ancestors 'none'", policy)
        self.assertIn(b"MIT License", daemon.expect(200, "GET", "/uplot-license.txt").body)
        etag = page.headers["ETag"]
        self.assertEqual(daemon.expect(304, "GET", "/", headers={"If-None-Match": etag}).body, b"")


if __name__ == "__main__":
    run(Page)
