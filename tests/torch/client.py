"""A small client of the daemon's HTTP API, and a reader of safetensors; standard library and numpy.
"""

import json
import struct
import time
import urllib.error
import urllib.request

import numpy as np

ENDED = ("succeeded", "failed", "cancelled")
TYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}


class Refused(Exception):
    """The daemon answered with an error; the text is its problem document."""


class Client:
    def __init__(self, url, token=None):
        self.url, self.token = url.rstrip("/"), token

    def request(self, method, path, body=None):
        """The answer's bytes and its content type."""
        headers = {"Accept": "application/json"}
        if body is not None:
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def get(self, path):
        return json.loads(self.request("GET", path))

    def items(self, path):
        """All items of a list, page by page."""
        found, cursor = [], None
        while True:
            mark = "&" if "?" in path else "?"
            page = self.get(path + (f"{mark}cursor={cursor}" if cursor else ""))
            found += page["items"]
            cursor = page.get("next_cursor")
            if not cursor:
                return found

    def submit(self, job):
        return json.loads(self.request("POST", "/v1/jobs", job))["id"]

    def wait(self, job, seconds):
        """The job once it has succeeded; anything else is an error."""
        end = time.monotonic() + seconds
        while True:
            shown = self.get(f"/v1/jobs/{job}")
            if shown["state"] == "succeeded":
                return shown
            if shown["state"] in ENDED or time.monotonic() > end:
                raise Refused(f"job {job} is {shown['state']}: {shown.get('reason')}")
            time.sleep(0.1)

    def losses(self, job):
        return self.items(f"/v1/jobs/{job}/losses")

    def epochs(self, job):
        return self.items(f"/v1/jobs/{job}/epochs")

    def checkpoint(self, job):
        """The newest checkpoint: its update and its tensors."""
        update = max(c["update"] for c in self.items(f"/v1/jobs/{job}/checkpoints"))
        data = self.request("GET", f"/v1/jobs/{job}/checkpoints/{update}")
        return update, read_safetensors(data)


def read_safetensors(data):
    """Name → array. Eight bytes of header length, JSON, then the tensors' bytes without gaps."""
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    body, tensors, covered = data[8 + length:], {}, 0
    for name, about in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, end = about["data_offsets"]
        if start != covered:
            raise ValueError(f"{name} starts at {start}, the tensor before ends at {covered}")
        values = np.frombuffer(body[start:end], dtype=TYPES[about["dtype"]])
        tensors[name] = values.reshape(about["shape"]).copy()
        covered = end
    if covered != len(body):
        raise ValueError(f"{len(body) - covered} bytes belong to no tensor")
    return tensors
