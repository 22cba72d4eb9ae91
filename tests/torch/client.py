"""A small client of the daemon's HTTP API: standard library, and the program curl for downloads.
"""

import http.client
import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ENDED = ("succeeded", "failed", "cancelled")
PAGE = 7  # rows of a series asked for at once: few, so that a short run has several pages


class Refused(Exception):
    """The daemon answered with an error, or a job ended otherwise than well."""


class Client:
    def __init__(self, url, token=None):
        self.url, self.token = url.rstrip("/"), token

    def request(self, method, path, body=None):
        """The answer, from JSON."""
        headers = {"Accept": "application/json"}
        if body is not None:
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            problem = error.read().decode().strip()
            raise Refused(f"{method} {path}: {error.code} {problem}") from error
        except http.client.HTTPException as error:
            raise Refused(f"{method} {path}: {error!r}") from error

    def submit(self, job):
        """The number that the job got."""
        return self.request("POST", "/v1/jobs", job)["id"]

    def wait(self, job, seconds):
        """The job once it has succeeded; anything else is an error."""
        return self.wait_for(f"/v1/jobs/{job}", seconds)

    def wait_for(self, path, seconds):
        """The same of a job or a probe by its path."""
        end = time.monotonic() + seconds
        while True:
            shown = self.request("GET", path)
            if shown["state"] == "succeeded":
                return shown
            if shown["state"] in ENDED or time.monotonic() > end:
                raise Refused(f"{path} is {shown['state']}: {shown['reason']}")
            time.sleep(0.1)

    def _series(self, job, name):
        """All rows of a recorded series, page by page."""
        rows, after = [], 0
        while after is not None:
            path = f"/v1/jobs/{job}/{name}?after={after}&limit={PAGE}"
            page = self.request("GET", path)
            cut = page["next_after"] is not None
            if page["thinned"] or (page["of"] > len(page[name])) != cut:
                raise Refused(f"{path}: {len(page[name])} of {page['of']} rows")
            rows += page[name]
            after = page["next_after"]
        return rows

    def losses(self, job):
        return self._series(job, "losses")

    def epochs(self, job):
        return self._series(job, "epochs")

    def checkpoints(self, job):
        """What checkpoints there are, the oldest first."""
        return self.request("GET", f"/v1/jobs/{job}/checkpoints")["checkpoints"]

    def download(self, path):
        """What the program curl saves from there, and the headers by their small names."""
        secret = f'header = "Authorization: Bearer {self.token}"\n' if self.token else ""
        with tempfile.TemporaryDirectory() as folder:
            body, head = os.path.join(folder, "body"), os.path.join(folder, "head")
            # A token goes through a pipe: arguments are seen by everybody on the machine.
            done = subprocess.run(["curl", "-fsS", "--noproxy", "*", "--max-time", "60", "-K", "-",
                                   "-o", body, "-D", head, self.url + path],
                                  input=secret, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Refused(f"curl {path}: {done.stderr.strip()}")
            with open(body, "rb") as file:
                data = file.read()
            with open(head, encoding="latin-1") as file:
                lines = [line.partition(":") for line in file.read().splitlines()[1:]]
        return data, {name.lower(): value.strip() for name, _, value in lines}
