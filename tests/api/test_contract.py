#!/usr/bin/env python3
"""A real daemon's answers against its own description: every route, in each state of a job, and
every refusal. What the description forbids in a job the daemon refuses."""

import copy
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "daemon"))

import support
from json_schema import Schemas, has_type
from support import job, long_job

TOKEN = "a-token-of-the-contract"
PROBLEM = "application/problem+json"
# What never ends by itself is validated event by event.
STREAMS = {"/v1/events", "/v1/jobs/{id}/events"}


def walk(value):
    """Every object within a JSON value."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from walk(item)


class Contract(support.Case):
    def begin(self, *options, token=None):
        daemon = self.start(*options)
        daemon.token = token
        self.description = daemon.get("/openapi.json")
        self.schemas = Schemas(self.description)
        self.met = set()
        return daemon

    def ask(self, daemon, method, pattern, status=None, number=1, update="latest", query="", probe=1,
            table="summary", **more):
        """Asks a route of the description and holds the answer against it."""
        path = pattern.format(id=number, update=update, number=probe, table=table)
        answer = daemon.request(method, path + query, **more)
        if status is not None:
            self.assertEqual(answer.status, status, f"{method} {path}{query}: {answer}")
        described = self.description["paths"][pattern][method.lower()]["responses"]
        self.assertIn(str(answer.status), described, f"{method} {path}{query}: {answer}")
        response = described[str(answer.status)]
        response = self.schemas.resolve(response["$ref"]) if "$ref" in response else response
        kind = answer.headers.get("Content-Type", "").split(";")[0]
        content = response.get("content", {})
        if answer.body:
            self.assertIn(kind, content, f"{method} {path}{query}: {answer.status}")
        if kind in ("application/json", PROBLEM):
            problems = self.schemas.problems(answer.json(), content[kind]["schema"])
            self.assertEqual(problems, [], f"{method} {path}{query}: {answer}")
        self.met.add((method, pattern))
        return answer

    def ask_sweeps(self, daemon):
        """Every route of sweeps, in each state of one; a job of higher priority keeps them waiting."""
        sweep = {"job": long_job(priority=-9), "grid": {"/seed": [1, 2], "/method/kind": ["sgd"]}}
        self.assertEqual(self.schemas.problems(sweep, self.schemas.component("SweepSpec")), [])
        for status in (201, 200):
            number = self.ask(daemon, "POST", "/v1/sweeps", status, body=sweep,
                              headers={"Idempotency-Key": "s"}).json()["id"]
        self.ask(daemon, "POST", "/v1/sweeps", 201, body=sweep)
        self.ask(daemon, "GET", "/v1/sweeps", 200, query="?limit=1")
        self.ask(daemon, "GET", "/v1/jobs", 200, query=f"?sweep={number}&limit=1")
        for action in ("pause", "resume", "cancel"):
            self.ask(daemon, "POST", f"/v1/sweeps/{{id}}/{action}", 200, number)
            self.ask(daemon, "GET", "/v1/sweeps/{id}", 200, number)
        self.ask(daemon, "GET", "/v1/sweeps/{id}", 200, number, query="?format=csv")
        self.ask(daemon, "DELETE", "/v1/sweeps/{id}", 409, number + 1)
        self.ask(daemon, "POST", "/v1/sweeps/{id}/cancel", 200, number + 1)
        self.ask(daemon, "DELETE", "/v1/sweeps/{id}", 204, number + 1)

    def ask_all(self, daemon, number):
        """Every route that reads."""
        for pattern, operations in self.description["paths"].items():
            if "get" in operations and pattern not in STREAMS:
                self.ask(daemon, "GET", pattern, number=number)
        for query in ("?limit=1", "?state=queued", "?state=running&limit=2"):
            self.ask(daemon, "GET", "/v1/jobs", 200, query=query)
        for series in ("losses", "epochs", "telemetry"):
            for query in ("", "?limit=2", "?points=4", "?after=1&limit=1", "?after=100000"):
                answer = self.ask(daemon, "GET", f"/v1/jobs/{{id}}/{series}", 200, number, query=query)
                self.assertGreaterEqual(answer.json()["of"], len(answer.json()[series]))
            self.ask(daemon, "GET", f"/v1/jobs/{{id}}/{series}", 200, number, query="?format=csv")

    def ask_probes(self, daemon, number):
        """Every route about probes, of a job that has ended."""
        probes, one = "/v1/jobs/{id}/probes", "/v1/jobs/{id}/probes/{number}"
        for status in (201, 200):
            asked = self.ask(daemon, "POST", probes, status, number, headers={"Idempotency-Key": "p"},
                             body={"kind": "landscape", "x": {"points": 3}, "save_vectors": True}).json()
        seen = self.follow(daemon, f"/v1/jobs/{number}/events?last_event_id=0", lambda event: False)
        self.assertIn("probe", seen)
        more = {"number": number, "probe": asked["number"]}
        shown = self.ask(daemon, "GET", one, 200, **more).json()
        self.assertEqual(shown["state"], "succeeded", shown)
        for table in shown["tables"]:
            for query in ("", "?limit=1", "?after=0", "?format=csv"):
                self.ask(daemon, "GET", one + "/tables/{table}", 200, table=table["name"], query=query,
                         **more)
        self.ask(daemon, "GET", one + "/vectors", 200, **more)
        self.ask(daemon, "POST", one + "/cancel", 409, **more)
        self.ask(daemon, "POST", probes, 422, number, body={"kind": "spectrum", "steps": 0, "top_k": 99})
        for query in ("", "?limit=1", "?state=failed"):
            self.ask(daemon, "GET", probes, 200, number, query=query)
        queued = daemon.submit(long_job(priority=100))
        daemon.wait_update(queued, 1)
        made = self.ask(daemon, "POST", probes, 201, number, body={"kind": "sharpness"}).json()["number"]
        self.ask(daemon, "POST", one + "/cancel", 200, number, probe=made)
        daemon.post(f"/v1/jobs/{queued}/cancel")

    def follow(self, daemon, path, enough):
        """Validates events until `enough(event)` or the end."""
        names = {"job": "Job", "start": "StartEvent", "state": "StateEvent", "update": "UpdateEvent",
                 "epoch": "EpochEvent", "checkpoint": "CheckpointEvent", "message": "MessageEvent",
                 "telemetry": "TelemetryEvent", "probe": "ProbeEvent",
                 "probe_progress": "ProbeProgressEvent", "deleted": "DeletedEvent"}
        stream, seen = support.Events(daemon, path), set()
        for event in stream:
            schema = self.schemas.component(names[event["event"]])
            self.assertEqual(self.schemas.problems(event["data"], schema), [], event)
            seen.add(event["event"])
            if enough(event):
                break
        stream.close()
        return seen

    def test_the_description_is_whole(self):
        self.begin()
        operations = [operation for path in self.description["paths"].values()
                      for operation in path.values()]
        names = [operation["operationId"] for operation in operations]
        self.assertEqual(len(names), len(set(names)))
        for found in walk(self.description):
            if isinstance(found.get("$ref"), str):
                self.schemas.resolve(found["$ref"])
            for keyword in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
                if keyword in found:
                    self.assertTrue(has_type(found[keyword], "number"), found)
            if "mapping" in found.get("discriminator", {}):
                mapping = found["discriminator"]["mapping"]
                self.assertEqual(sorted(mapping.values()),
                                 sorted(one["$ref"] for one in found["oneOf"]))
                for kind, reference in mapping.items():
                    target = self.schemas.resolve(reference)
                    self.assertEqual(target["properties"]["kind"], {"const": kind})
        for schema in self.description["components"]["schemas"].values():
            self.schemas.problems({}, schema)
            self.check_defaults(schema)

    def check_defaults(self, schema):
        for found in walk(schema):
            if "default" in found and "type" in found and not isinstance(found["default"], dict):
                self.assertEqual(self.schemas.problems(found["default"], found), [], found)

    def test_the_check_sees_what_is_wrong(self):
        daemon = self.begin()
        schema = self.schemas.component("Job")
        shown = daemon.job(daemon.submit(job()))
        self.assertEqual(self.schemas.problems(shown, schema), [])
        for name in shown:
            for wrong in ({"wrong": 1}, [1], True):
                self.assertTrue(self.schemas.problems({**shown, name: wrong}, schema), (name, wrong))
            without = {other: value for other, value in shown.items() if other != name}
            self.assertEqual(bool(self.schemas.problems(without, schema)),
                             name not in ("facts", "estimate"))
        self.assertTrue(self.schemas.problems({**shown, "more": 1}, schema))

    def test_every_route_in_each_state(self):
        daemon = self.begin("--workers", "1")
        running = daemon.submit(long_job())
        daemon.wait_update(running, 1)
        self.ask(daemon, "DELETE", "/v1/jobs/{id}", 409, running)
        answer = self.ask(daemon, "POST", "/v1/jobs", 201, body=job("m-arwp", 4),
                          headers={"Idempotency-Key": "k"})
        done = answer.json()["id"]
        self.ask(daemon, "POST", "/v1/jobs", 200, body=job("m-arwp", 4), headers={"Idempotency-Key": "k"})
        daemon.wait_until(running, lambda shown: shown["checkpoint_update"], "to have a checkpoint", 60)
        file = daemon.expect(200, "GET", f"/v1/jobs/{running}/checkpoints/latest").body
        for status in (201, 200):
            upload = self.ask(daemon, "POST", "/v1/uploads", status, body=file,
                              headers={"Content-Type": "application/octet-stream"}).json()["id"]
        self.ask(daemon, "GET", "/v1/uploads/{id}", 200, upload)
        follower = self.ask(daemon, "POST", "/v1/jobs", 201,
                            body=long_job(init_from={"upload": upload}, priority=-5)).json()["id"]
        self.ask(daemon, "DELETE", "/v1/uploads/{id}", 409, upload)
        self.ask(daemon, "POST", "/v1/jobs/{id}/cancel", 200, follower)
        self.ask(daemon, "DELETE", "/v1/uploads/{id}", 204, upload)
        self.ask_sweeps(daemon)
        for number in (running, done):
            self.ask_all(daemon, number)
        for action in ("pause", "resume", "cancel"):
            self.ask(daemon, "POST", f"/v1/jobs/{{id}}/{action}", 200, running)
            if action == "pause":
                daemon.wait(running, "paused")
        daemon.wait(running, "cancelled")
        seen = self.follow(daemon, f"/v1/jobs/{done}/events", lambda event: False)
        self.assertIn("job", seen)
        self.follow(daemon, f"/v1/jobs/{done}/events?last_event_id=0", lambda event: False)
        daemon.wait(done)
        diverged = daemon.submit(job(optimizer={"kind": "sgd", "lr": 1000}, epochs=200))
        daemon.wait(diverged, "failed")
        for number in (running, done, diverged):
            self.ask_all(daemon, number)
        self.ask_probes(daemon, done)
        self.ask(daemon, "POST", "/login", 303, body="token=",
                 headers={"Content-Type": "application/x-www-form-urlencoded"})
        seen = self.follow(daemon, "/v1/events?last_event_id=0",
                           lambda event: event["event"] == "state" and event["data"]["job"] == diverged
                           and event["data"]["state"] in support.ENDED)
        self.assertLessEqual({"state", "epoch", "checkpoint"}, seen)
        seen = self.follow(daemon, f"/v1/jobs/{done}/events?last_event_id=0", lambda event: False)
        self.assertLessEqual({"state", "update", "epoch", "checkpoint"}, seen)
        self.ask(daemon, "DELETE", "/v1/jobs/{id}", 204, diverged)
        self.follow(daemon, "/v1/events?last_event_id=0", lambda event: event["event"] == "deleted"
                    and event["data"]["job"] == diverged)
        described = {(method.upper(), pattern) for pattern, path in self.description["paths"].items()
                     for method in path}
        self.assertEqual(described - self.met, {("GET", pattern) for pattern in STREAMS})

    def test_defaults_are_what_the_description_says(self):
        daemon = self.begin()
        schema = self.description["components"]["schemas"]["JobSpec"]
        least = {name: job()[name] for name in schema["required"]}
        least["dataset"] = {"kind": "digits"}
        spec = self.ask(daemon, "POST", "/v1/jobs", 201, body=least).json()["spec"]
        for name, member in schema["properties"].items():
            if "default" in member and not isinstance(member["default"], dict) and name != "name":
                self.assertEqual(spec[name], member["default"], name)

    def test_every_refusal_is_described(self):
        daemon = self.begin("--upload-limit", "1000000")
        number = daemon.submit(job())
        daemon.wait(number)
        for pattern, operations in self.description["paths"].items():
            for method in operations:
                method = method.upper()
                self.ask(daemon, method, pattern, 422, query="?nonsense=1")
                self.ask(daemon, method, pattern, 403, headers={"Origin": "http://evil.example"})
                self.ask(daemon, method, pattern, 421, headers={"Host": "evil.example"})
                self.ask(daemon, method, pattern, 414, query="?a=" + "x" * 5000)
                self.ask(daemon, method, pattern, 431, headers={"A": "x" * 20000})
                if pattern != "/login":
                    self.ask(daemon, method, pattern, 406, headers={"Accept": "image/png"})
                if "{id}" in pattern:
                    body = {"kind": "sharpness"} if (method, pattern[-7:]) == ("POST", "/probes") else None
                    self.ask(daemon, method, pattern, 404, number=99999, body=body)
                if method == "POST":
                    self.ask(daemon, method, pattern, 415, body="x", headers={"Content-Type": "a/b"})
                    kind = {"/login": "x-www-form-urlencoded",
                            "/v1/uploads": "octet-stream"}.get(pattern, "json")
                    self.ask(daemon, method, pattern, 413, body=b" " * (1 << 20) + b"{}",
                             headers={"Content-Type": "application/" + kind})
        checkpoint = "/v1/jobs/{id}/checkpoints/{update}"
        self.ask(daemon, "GET", checkpoint, 404, update=99999)
        self.ask(daemon, "GET", checkpoint, 412, headers={"If-Match": '"other"'})
        self.ask(daemon, "GET", checkpoint, 416, headers={"Range": "bytes=99999999-"})
        self.ask(daemon, "GET", checkpoint, 206, headers={"Range": "bytes=0-9"})
        tag = self.ask(daemon, "GET", checkpoint, 200).headers["ETag"]
        self.ask(daemon, "GET", checkpoint, 304, headers={"If-None-Match": tag})
        for action in ("cancel", "pause", "resume"):
            self.ask(daemon, "POST", f"/v1/jobs/{{id}}/{action}", 409, number)
            self.ask(daemon, "POST", f"/v1/jobs/{{id}}/{action}", 422, number, body={"now": True})
        swept = {"job": job(), "grid": {"/seed": [1]}}
        sweep = self.ask(daemon, "POST", "/v1/sweeps", 201, body=swept).json()["id"]
        daemon.wait(number + 1)
        for action in ("cancel", "pause", "resume"):
            self.ask(daemon, "POST", f"/v1/sweeps/{{id}}/{action}", 409, sweep)
            self.ask(daemon, "POST", f"/v1/sweeps/{{id}}/{action}", 422, sweep, body={"now": True})
        self.ask(daemon, "POST", "/v1/sweeps", 400, body="{")
        self.ask(daemon, "POST", "/v1/sweeps", 422, body={**swept, "grid": {"/seed": [-1]}})
        self.ask(daemon, "POST", "/v1/jobs", 400, body="{")
        self.ask(daemon, "POST", "/v1/uploads", 422, body="{",
                 headers={"Content-Type": "application/octet-stream"})
        self.ask(daemon, "GET", "/v1/jobs/{id}/events", 422, headers={"Last-Event-ID": "x"})

    def test_limits_and_the_token_are_described(self):
        path = os.path.join(self.folder, "token")
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(TOKEN)
        daemon = self.start("--token-file", path, "--queue-limit", "1")
        daemon.token = TOKEN
        self.description = daemon.get("/openapi.json")
        self.schemas, self.met = Schemas(self.description), set()
        first = self.ask(daemon, "POST", "/v1/jobs", 201, body=long_job()).json()["id"]
        daemon.wait_update(first, 1)
        self.ask(daemon, "POST", "/v1/jobs", 201, body=long_job(), headers={"Idempotency-Key": "k"})
        self.ask(daemon, "POST", "/v1/jobs", 429, body=long_job())
        self.ask(daemon, "POST", "/v1/sweeps", 429, body={"job": long_job(), "grid": {"/seed": [1]}})
        self.ask(daemon, "POST", "/v1/jobs", 409, body=job(), headers={"Idempotency-Key": "k"})
        daemon.token = "wrong"
        for pattern, operations in self.description["paths"].items():
            for method, operation in operations.items():
                if operation.get("security") != []:
                    self.ask(daemon, method.upper(), pattern, 401)
        self.ask(daemon, "POST", "/login", 401, body="token=wrong",
                 headers={"Content-Type": "application/x-www-form-urlencoded"})
        self.ask(daemon, "GET", "/livez", 200)

    def test_what_the_description_forbids_is_refused(self):
        daemon = self.begin()
        schema = self.schemas.component("JobSpec")
        number = daemon.submit(job("m-arwp", probes=[{"kind": "landscape"}, {"kind": "spectrum"}]))
        whole = daemon.job(number)["spec"]
        self.assertEqual(self.schemas.problems(whole, schema), [])
        wrong = [value for value in ({}, [], "x", -1, 0.5, 1e18, None, True, "x" * 5000, {"kind": "x"})]
        refused = 0
        for place in self.places(whole):
            for value in wrong:
                spec = copy.deepcopy(whole)
                at = spec
                for name in place[:-1]:
                    at = at[name]
                at[place[-1]] = value
                if self.schemas.problems(spec, schema):
                    answer = self.ask(daemon, "POST", "/v1/jobs", 422, body=spec).json()
                    pointers = [error["pointer"] for error in answer["errors"]]
                    pointer = "/" + "/".join(map(str, place))
                    self.assertTrue(any(one.startswith(pointer) or pointer.startswith(one)
                                        for one in pointers), (spec, pointers))
                    refused += 1
        self.assertGreater(refused, 100)

    def places(self, value, above=()):
        """The path of each member, and of one that there is not."""
        for name, item in value.items():
            yield (*above, name)
            if isinstance(item, dict):
                yield from self.places(item, (*above, name))
            elif isinstance(item, list):
                for place, one in enumerate(item):
                    if isinstance(one, dict):
                        yield from self.places(one, (*above, name, place))
        yield (*above, "nonsense")


if __name__ == "__main__":
    support.run_tests()
