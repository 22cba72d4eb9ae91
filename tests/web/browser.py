"""A real Chromium through chromedriver's WebDriver protocol; standard library only.

Everything stays on the loopback: chromedriver listens there, and the browser is started without
whatever would look further (updates, sync, component downloads)."""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-default-apps", "--disable-extensions", "--disable-dev-shm-usage",
             "--hide-scrollbars", "--force-color-profile=srgb", "--window-size=1400,900"]


class Trouble(Exception):
    """What the browser or the driver refused, or what did not come in time."""


def _call(url, method="GET", body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"},
                                     method=method)
    try:
        with urllib.request.urlopen(request, timeout=90) as answer:
            return json.loads(answer.read())["value"]
    except urllib.error.HTTPError as error:
        value = json.loads(error.read())["value"]
        raise Trouble(f"{value['error']}: {value['message'].splitlines()[0]}") from error


class Browser:
    """Use it in a `with`: it ends the browser and removes its profile."""

    def __init__(self, chromium="/usr/bin/chromium", chromedriver="/usr/bin/chromedriver"):
        for tries_left in (2, 1, 0):
            self.profile = tempfile.mkdtemp(prefix="rwpd-browser-")
            self.driver, self.url = None, ""
            try:
                self.url = f"http://127.0.0.1:{self._start(chromedriver)}"
                self._open(chromium)
                return
            except (Trouble, OSError):
                # On a busy machine a port may be lost between its choice and its use, or the
                # browser be too slow for its driver.
                self.close()
                if not tries_left:
                    raise
                time.sleep(2)
            except BaseException:
                self.close()
                raise

    def _start(self, chromedriver):
        # Not a pipe: the browser writes there as well, and nobody would read it.
        with tempfile.TemporaryFile("w+") as said:
            self.driver = subprocess.Popen([chromedriver, "--port=0"], stdout=subprocess.PIPE,
                                           stderr=said, text=True)
            for line in self.driver.stdout:
                found = re.search(r"started successfully on port (\d+)", line)
                if found:
                    return int(found.group(1))
            said.seek(0)
            raise Trouble(f"chromedriver does not start: {said.read()[-1000:]}")

    def _end(self):
        self.driver.terminate()
        self.driver.wait(timeout=60)
        self.driver.stdout.close()

    def _open(self, chromium):
        options = {"binary": chromium,
                   "args": ARGUMENTS + [f"--user-data-dir={self.profile}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options,
                  "goog:loggingPrefs": {"browser": "ALL"}}
        session = _call(self.url + "/session", "POST", {"capabilities": {"alwaysMatch": wanted}})
        self.url += "/session/" + session["sessionId"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            if "/session/" in self.url:
                _call(self.url, "DELETE")
        except (Trouble, OSError):
            pass
        if self.driver:
            self._end()
        shutil.rmtree(self.profile, ignore_errors=True)

    def go(self, url):
        _call(self.url + "/url", "POST", {"url": url})

    def run(self, script, *arguments):
        """The value of a JavaScript function's body."""
        return _call(self.url + "/execute/sync", "POST", {"script": script, "args": arguments})

    def wait(self, what, script, *arguments, seconds=20):
        """The script's first true value."""
        end = time.monotonic() + seconds
        while True:
            value = self.run(script, *arguments)
            if value:
                return value
            if time.monotonic() > end:
                raise Trouble(f"after {seconds} s there is still not: {what}")
            time.sleep(0.05)

    def _element(self, selector):
        found = _call(self.url + "/element", "POST", {"using": "css selector", "value": selector})
        return next(iter(found.values()))

    def click(self, selector):
        """As a person does: fails when the element is hidden or covered."""
        _call(f"{self.url}/element/{self._element(selector)}/click", "POST", {})

    def keys(self, text):
        """Types into whatever has the focus. WebDriver's codes: \\ue004 Tab, \\ue007 Enter."""
        presses = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        actions = [{"type": "key", "id": "keyboard", "actions": presses}]
        _call(self.url + "/actions", "POST", {"actions": actions})

    def devtools(self, command, **parameters):
        return _call(self.url + "/goog/cdp/execute", "POST", {"cmd": command, "params": parameters})

    def size(self, width, height, phone=False):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height,
                      deviceScaleFactor=2 if phone else 1, mobile=phone)

    def colours(self, scheme):
        """"light" or "dark"."""
        self.devtools("Emulation.setEmulatedMedia",
                      features=[{"name": "prefers-color-scheme", "value": scheme}])

    def offline(self, off):
        """Cuts the page off; what is under way breaks."""
        self.devtools("Network.enable")
        self.devtools("Network.emulateNetworkConditions", offline=off, latency=0,
                      downloadThroughput=-1, uploadThroughput=-1)

    def complaints(self):
        """What the console has said since the last call, but for plain messages."""
        log = _call(self.url + "/se/log", "POST", {"type": "browser"})
        return [line["message"] for line in log if line["level"] in ("SEVERE", "WARNING")]

    def picture(self, path):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(_call(self.url + "/screenshot")))
