#!/usr/bin/env python3
"""Weights that somebody uploads: what is taken, what is refused, what jobs make of them."""

import hashlib
import json
import struct
import time

import support
from support import job

BINARY = {"Content-Type": "application/octet-stream"}


def pack(tensors, metadata=None):
    """A safetensors file of {name: (dtype, shape, bytes)}."""
    header, at = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name, (kind, shape, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(t[2] for t in tensors.values())


class Uploads(support.Case):
    def trained(self, daemon, **changes):
        number = daemon.submit(job("m-arwp", 2, **changes))
        daemon.wait(number)
        return number, daemon.expect(200, "GET", f"/v1/jobs/{number}/checkpoints/latest").body

    def upload(self, daemon, body, status=201, query=""):
        return daemon.expect(status, "POST", "/v1/uploads" + query, body=body, headers=BINARY)

    def test_a_job_begins_with_uploaded_weights(self):
        daemon = self.start()
        number, file = self.trained(daemon)
        digest = hashlib.sha256(file).hexdigest()
        answer = self.upload(daemon, file, query=f"?name=mine&sha256={digest}")
        made = answer.json()
        self.assertEqual((made["name"], made["sha256"], made["bytes"], made["tensors"]),
                         ("mine", digest, len(file), len(support.read_safetensors(file))))
        self.assertEqual(answer.headers["Location"], f"/v1/uploads/{made['id']}")
        # The same bytes again are the same upload.
        self.assertEqual(self.upload(daemon, file, 200).json(), made)
        self.assertEqual(daemon.get("/v1/uploads"), {"uploads": [made]})
        self.assertEqual(daemon.get(f"/v1/uploads/{made['id']}"), made)
        both = [daemon.submit(job("rwp", 1, init_from=source))
                for source in ({"upload": made["id"]}, {"job": number})]
        for one in both:
            self.assertEqual(daemon.wait(one)["state"], "succeeded")
        self.assertEqual(*[[{**row, "seconds": 0} for row in daemon.losses(one)] for one in both])

    def test_a_full_file_and_another_precision(self):
        daemon = self.start()
        number, file = self.trained(daemon)
        full = daemon.expect(200, "GET", f"/v1/jobs/{number}/checkpoints/latest?state=full").body
        tensors = {}
        for name, (kind, shape, data) in support.read_safetensors(file).items():
            if kind == "F32":
                values = struct.unpack(f"<{len(data) // 4}f", data)
                tensors[name] = ("F64", shape, struct.pack(f"<{len(values)}d", *values))
        losses = []
        for body in (full, pack(tensors, {"format": "pt"})):
            number = self.upload(daemon, body).json()["id"]
            one = daemon.submit(job("sgd", 1, init_from={"upload": number}))
            self.assertEqual(daemon.wait(one)["state"], "succeeded")
            losses.append([row["loss"] for row in daemon.losses(one)])
        self.assertEqual(*losses)

    def test_what_does_not_fit_is_refused_with_the_job(self):
        daemon = self.start()
        number = self.upload(daemon, pack({"conv1.weight": ("F32", (2,), bytes(8)),
                                           "extra": ("F32", (1,), bytes(4))})).json()["id"]
        errors = daemon.post("/v1/jobs", job(init_from={"upload": number}), 422)["errors"]
        said = {error["detail"] for error in errors}
        self.assertIn("conv1.weight has the shape [2]; the model's has [4,1,3,3]", said)
        self.assertIn("extra is none of the model's", said)
        self.assertIn("fc.bias is missing", said)
        errors = daemon.post("/v1/jobs", job(init_from={"upload": 99}), 422)["errors"]
        self.assertEqual(errors[0]["pointer"], "/init_from/upload")

    def test_ill_formed_files_are_refused(self):
        daemon = self.start()
        good = pack({"a": ("F32", (2, 3), bytes(24))})

        def header(value, data=b""):
            text = value if isinstance(value, bytes) else json.dumps(value).encode()
            return struct.pack("<Q", len(text)) + text + data

        one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
        bad = [b"", b"\0" * 7, good[:-1], struct.pack("<Q", 2**63) + b"{}", header(b"{"),
               header([]), header({}), header({"a": 1}), header({"a": {**one, "dtype": "F16"}}, bytes(8)),
               header({"a": {**one, "shape": [3]}}, bytes(8)),
               header({"a": {**one, "shape": [-2]}}, bytes(8)),
               header({"a": {**one, "shape": [2**40, 2**40]}}, bytes(8)),
               header({"a": {**one, "shape": [1, 1, 1, 1, 2]}}, bytes(8)),
               header({"a": {**one, "data_offsets": [8, 0]}}, bytes(8)),
               header({"a": {**one, "data_offsets": [4, 12]}}, bytes(8)),
               header({"a" * 500: one}, bytes(8)),
               header(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
                      b'"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)),
               # A few bytes that are many tensors' would be stored many times.
               header({"a": one, "b": one}, bytes(8)),
               header({"a": {**one, "data_offsets": [4, 12]}, "b": one}, bytes(12)),
               # Bytes that are nobody's: behind the last tensor, between two, before the first.
               good + b"xx",
               header({"a": one, "b": {**one, "data_offsets": [12, 20]}}, bytes(20)),
               header({"a": {**one, "data_offsets": [4, 12]}}, bytes(12)),
               header({"a": one, "momentum.a": {**one, "data_offsets": [8, 12]}}, bytes(20))]
        for body in bad:
            answer = daemon.request("POST", "/v1/uploads", body, headers=BINARY)
            self.assertEqual(answer.status, 422, body[:80])
            self.assertEqual(answer.json()["code"], "safetensors")
        for kind, code in (("F32", "f"), ("F64", "d")):
            for value in ("nan", "inf", "-inf"):
                data = struct.pack("<3" + code, 1, float(value), 2)
                told = self.upload(daemon, pack({"a": (kind, (3,), data)}), 422).json()["detail"]
                self.assertIn("a[1] is " + value.replace("inf", "Infinity").replace("nan", "NaN"), told)
        self.upload(daemon, good, 422, "?sha256=" + "0" * 64)
        self.upload(daemon, good, 422, "?name=" + "n" * 201)
        self.assertEqual(daemon.request("POST", "/v1/uploads", good, headers={
            "Content-Type": "application/json"}).status, 415)
        self.assertEqual(daemon.get("/v1/uploads"), {"uploads": []})

    def test_the_limit_is_one_of_its_own(self):
        daemon = self.start("--upload-limit", "3000000", "--body-limit", "2000")
        self.upload(daemon, pack({"a": ("F32", (500000,), bytes(2000000))}))
        self.upload(daemon, pack({"a": ("F32", (800000,), bytes(3200000))}), 413)
        self.assertEqual(daemon.request("POST", "/v1/jobs", b" " * 3000, headers={
            "Content-Type": "application/json"}).status, 413)

    def test_deletion_waits_for_those_who_need_it(self):
        daemon = self.start()
        number, file = self.trained(daemon)
        upload = self.upload(daemon, file).json()["id"]
        running = daemon.submit(support.long_job())
        daemon.wait_update(running, 1)
        waiting = daemon.submit(job(init_from={"upload": upload}))
        daemon.expect(409, "DELETE", f"/v1/uploads/{upload}")
        daemon.kill()
        daemon = self.start()
        daemon.expect(409, "DELETE", f"/v1/uploads/{upload}")
        daemon.post(f"/v1/jobs/{running}/cancel")
        self.assertEqual(daemon.wait(waiting)["state"], "succeeded")
        daemon.expect(204, "DELETE", f"/v1/uploads/{upload}")
        daemon.expect(404, "DELETE", f"/v1/uploads/{upload}")
        daemon.get(f"/v1/uploads/{upload}", 404)
        errors = daemon.post("/v1/jobs", job(init_from={"upload": upload}), 422)["errors"]
        self.assertEqual(errors[0]["pointer"], "/init_from/upload")
        # An id is never given again.
        self.assertGreater(self.upload(daemon, file).json()["id"], upload)

    def test_a_jobs_own_probes_keep_what_they_will_need(self):
        daemon = self.start("--workers", "1")
        _, file = self.trained(daemon)
        upload = self.upload(daemon, file).json()["id"]
        running = daemon.submit(support.long_job())
        daemon.wait_update(running, 1)
        given = {"kind": "landscape", "x": {"direction": "given", "points": 2}, "upload": upload}
        line = {"kind": "landscape", "x": {"direction": "line", "points": 2}, "other": {"upload": upload}}
        for probe in (given, line):
            waiting = daemon.submit(job("m-arwp", 1, probes=[{"kind": "sharpness"}, probe]))
            answer = daemon.expect(409, "DELETE", f"/v1/uploads/{upload}").json()
            self.assertIn(f"job {waiting}", answer["detail"])
            daemon.post(f"/v1/jobs/{waiting}/cancel")
        daemon.expect(204, "DELETE", f"/v1/uploads/{upload}")

    def test_given_vectors_that_do_not_fit_are_refused(self):
        daemon = self.start()
        number, file = self.trained(daemon)
        tensors = support.read_safetensors(file)
        first = "conv1.weight"
        wrong = (("F32", (2,), bytes(8)), f"{first} has the shape [2]; the parameter's is [")
        for change, says in (wrong, (None, f"{first} is missing")):
            given = {**tensors, first: change}
            upload = self.upload(daemon, pack({name: about for name, about in given.items() if about}))
            for vectors in ({"kind": "spectrum", "start": "given", "runs": 1},
                            {"kind": "landscape", "x": {"direction": "given"}}):
                probe = {**vectors, "upload": upload.json()["id"]}
                for path, body, place in (
                        (f"/v1/jobs/{number}/probes", probe, ""),
                        ("/v1/jobs", job("m-arwp", 2, probes=[probe]), "/probes/0")):
                    errors = daemon.post(path, body, 422)["errors"]
                    self.assertEqual([error["pointer"] for error in errors], [place + "/upload"])
                    self.assertIn(says, errors[0]["detail"])

    def test_a_request_that_comes_again_needs_nothing_any_more(self):
        daemon = self.start()
        number, file = self.trained(daemon)
        upload = self.upload(daemon, file).json()["id"]
        requests = (
            ("/v1/jobs", job(init_from={"upload": upload})),
            ("/v1/sweeps", {"job": job(init_from={"upload": upload}), "grid": {"/seed": [1, 2]}}),
            (f"/v1/jobs/{number}/probes", {"kind": "landscape", "x": {"direction": "line", "points": 2},
                                           "other": {"upload": upload}}))
        made = [daemon.expect(201, "POST", path, body=body, headers={"Idempotency-Key": "k"})
                for path, body in requests]
        while daemon.request("DELETE", f"/v1/uploads/{upload}").status != 204:
            time.sleep(0.05)
        for (path, body), before in zip(requests, made):
            again = daemon.expect(200, "POST", path, body=body, headers={"Idempotency-Key": "k"})
            self.assertEqual(again.headers["Location"], before.headers["Location"])
            daemon.expect(422, "POST", path, body=body, headers={"Idempotency-Key": "another"})

    def test_a_source_outlives_its_own_jobs_checkpoints_and_a_kill(self):
        daemon = self.start("--workers", "1")
        source = daemon.submit(support.long_job(checkpoint={"every_epochs": 1, "keep": 1}))
        daemon.wait_until(source, lambda shown: shown["checkpoint_update"],
                          "to have a checkpoint", 60)
        made = daemon.post("/v1/jobs", job(init_from={"job": source}), 201)
        update = made["spec"]["init_from"]["update"]
        daemon.wait_update(source, update + 50)
        daemon.kill()
        daemon = self.start("--workers", "1")
        daemon.wait_until(source, lambda shown: shown["checkpoint_update"] > update + 50,
                          "to have a later checkpoint", 60)
        listed = daemon.get(f"/v1/jobs/{source}/checkpoints")["checkpoints"]
        self.assertIn(update, [entry["update"] for entry in listed])
        daemon.post(f"/v1/jobs/{source}/cancel")
        self.assertEqual(daemon.wait(made["id"])["state"], "succeeded")


if __name__ == "__main__":
    support.run_tests()
