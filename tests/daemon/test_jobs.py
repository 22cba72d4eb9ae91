#!/usr/bin/env python3
"""Jobs from submission to their end, and what they leave behind."""

import base64
import csv
import hashlib
import io
import json
import os
import threading
import time

import support
from support import job


class Jobs(support.Case):
    def test_submit_watch_succeed(self):
        daemon = self.start()
        made = daemon.post("/v1/jobs", job("m-arwp", 20), 201)
        self.assertIn(made["state"], ("queued", "running"))
        self.assertEqual((made["updates"], made["facts"]["updates_per_epoch"]), (100, 5))
        self.assertEqual(made["spec"]["optimizer"]["momentum"], 0.9)
        self.assertEqual(made["spec"]["checkpoint"]["keep"], 2)
        shown = daemon.wait(made["id"])
        self.assertEqual((shown["progress"], shown["updates_done"], shown["epoch"]), (1, 100, 20))
        self.assertEqual(shown["gradient_evaluations"], 200)
        self.assertGreater(shown["best_top1"], 0.2)
        self.assertEqual(shown["reason"], None)
        for before, after in (("created_at", "started_at"), ("started_at", "finished_at")):
            self.assertLessEqual(shown[before], shown[after])
        losses, epochs = daemon.losses(made["id"]), daemon.epochs(made["id"])
        self.assertEqual([loss["update"] for loss in losses], list(range(1, 101)))
        self.assertEqual([loss["epoch"] for loss in losses], [1 + u // 5 for u in range(100)])
        self.assertEqual(losses[-1]["loss"], shown["loss"])
        self.assertEqual(losses[-1]["perturbed_loss"], shown["perturbed_loss"])
        self.assertAlmostEqual(sum(loss["seconds"] for loss in losses), shown["seconds"], 6)
        self.assertEqual([epoch["epoch"] for epoch in epochs], list(range(1, 21)))
        self.assertEqual(max(epoch["test_top1"] for epoch in epochs), shown["best_top1"])
        self.assertEqual(epochs[-1]["test_loss"], shown["test_loss"])
        self.assertLess(losses[-1]["loss"], losses[0]["loss"])

    def test_all_methods_and_the_reference_device(self):
        daemon = self.start("--workers", "2")
        numbers = [daemon.submit(job(method, device=device)) for method in support.METHODS
                   for device in ("cpu", "reference")]
        first = {}
        for number in numbers:
            shown = daemon.wait(number, seconds=120)
            first[shown["spec"]["method"]["kind"], shown["facts"]["device"]] = \
                daemon.losses(number)[0]["loss"]
        for method in support.METHODS:
            # The two compute the first loss of the same weights on the same samples.
            self.assertAlmostEqual(first[method, "cpu"], first[method, "reference"], 4)

    def test_all_that_is_wrong_is_said_at_once(self):
        daemon = self.start()
        wrong = job(colour="red", epochs=-1, batch_size="many")
        wrong["optimizer"] = {"kind": "sgd", "lr": -1, "momentum": 1.0}
        del wrong["model"]
        answer = daemon.post("/v1/jobs", wrong, 422)
        self.assertEqual({error["pointer"] for error in answer["errors"]},
                         {"/colour", "/epochs", "/batch_size", "/optimizer/lr",
                          "/optimizer/momentum", "/model"})
        senseless = job(batch_size=400, device="cpu", precision="fp64")
        answer = daemon.post("/v1/jobs", senseless, 422)
        self.assertEqual({error["pointer"] for error in answer["errors"]},
                         {"/batch_size", "/precision"})
        # Both kinds at once, and nothing twice of a value that is wrong by itself.
        both = job("m-rwp", batch_size=400, device="cpu", precision="fp64", epochs=0)
        both["dataset"] = {"kind": "idx", "path": "relative", "label_noise": 2}
        both["method"]["lambda"] = 2
        answer = daemon.post("/v1/jobs", both, 422)
        self.assertEqual(sorted(error["pointer"] for error in answer["errors"]),
                         ["/dataset/label_noise", "/dataset/path", "/epochs", "/method/lambda",
                          "/precision"])
        missing = job(device="cpu", precision="fp64", dataset={"kind": "idx"})
        answer = daemon.post("/v1/jobs", missing, 422)
        self.assertEqual(sorted(error["pointer"] for error in answer["errors"]),
                         ["/dataset/path", "/precision"])
        for text in ("", "{", "[]", "null", '{"a":1,"a":2}', "\xff", "[" * 100000):
            self.assertIn(daemon.request("POST", "/v1/jobs", text.encode("latin-1")).status,
                          (400, 422))
        idx = job(dataset={"kind": "idx", "path": "/nowhere"})
        self.assertEqual(daemon.post("/v1/jobs", idx, 422)["errors"][0]["pointer"], "/dataset/path")
        self.assertEqual(daemon.jobs(), [])
        daemon.get("/v1/jobs/1", 404)

    def test_a_length_in_updates_and_other_optimizers(self):
        daemon = self.start()
        made = job("m-rwp", updates=12, optimizer={"kind": "adamw", "clip_norm": 1},
                   schedule={"kind": "cosine", "warmup_updates": 4}, label_smoothing=0.1)
        both = daemon.post("/v1/jobs", made, 422)
        self.assertEqual([error["pointer"] for error in both["errors"]], ["/updates"])
        del made["epochs"]
        # What is wrong with one says nothing of the other.
        for wrong, pointer in (({"updates": 1e12}, "/updates"), ({"epochs": "two"}, "/epochs")):
            told = daemon.post("/v1/jobs", {**made, **wrong}, 422)
            self.assertEqual([error["pointer"] for error in told["errors"]], [pointer])
        plain = daemon.post("/v1/jobs", {**made, "updates": 0}, 201)
        self.assertEqual((plain["spec"]["epochs"], plain["spec"]["updates"]), (30, 0))
        made = daemon.post("/v1/jobs", made, 201)
        self.assertEqual((made["updates"], made["spec"]["epochs"], made["spec"]["updates"]),
                         (12, 0, 12))
        self.assertEqual(made["spec"]["optimizer"]["beta2"], 0.999)
        shown = daemon.wait(made["id"])
        self.assertEqual((shown["state"], shown["updates_done"], shown["epoch"]),
                         ("succeeded", 12, 3))
        rates = [loss["lr"] for loss in daemon.losses(made["id"])]
        for rate, share in zip(rates, (0.25, 0.5, 0.75, 1, 1)):
            self.assertAlmostEqual(rate, 0.001 * share, 12)
        self.assertEqual(daemon.epochs(made["id"])[-1]["update"], 12)

    def test_a_job_begins_with_anothers_weights(self):
        daemon = self.start()
        source = daemon.submit(job("m-rwp", 4, checkpoint={"every_epochs": 1, "keep": 2}))
        daemon.wait(source)
        small = {"kind": "sgd", "lr": 1e-9, "weight_decay": 0}
        made = daemon.post("/v1/jobs", job(updates=1, epochs=0, optimizer=small,
                                           init_from={"job": source}), 201)
        self.assertEqual(made["spec"]["init_from"], {"job": source, "update": 20, "upload": 0})
        daemon.wait(made["id"])
        have, want = (support.read_safetensors(daemon.expect(
            200, "GET", f"/v1/jobs/{number}/checkpoints/latest").body)
                      for number in (made["id"], source))
        for name, (kind, shape, data) in have.items():
            if name.endswith((".weight", ".bias")):
                pairs = zip(*(memoryview(d).cast("f") for d in (data, want[name][2])))
                self.assertTrue(all(abs(a - b) < 1e-6 for a, b in pairs), name)
        earlier = daemon.submit(job(init_from={"job": source, "update": 15}))
        self.assertEqual(daemon.wait(earlier)["state"], "succeeded")

    def test_what_does_not_fit_is_named_at_once(self):
        daemon = self.start()
        source = daemon.submit(job())
        daemon.wait(source)
        wide = job(init_from={"job": source})
        wide["model"] = {"kind": "resnet", "width": 5, "blocks": [1, 1]}
        errors = daemon.post("/v1/jobs", wide, 422)["errors"]
        self.assertGreater(len(errors), 10)
        self.assertIn({"pointer": "/init_from",
                       "detail": "bn1.weight has the shape [4]; the model's has [5]"}, errors)
        for wish, pointer in (({"job": 77}, "/init_from/job"), ({"update": 5}, "/init_from/update"),
                              ({"job": source, "update": 5}, "/init_from/update"),
                              ({"job": source, "upload": 1}, "/init_from/upload")):
            errors = daemon.post("/v1/jobs", job(init_from=wish), 422)["errors"]
            self.assertEqual([error["pointer"] for error in errors], [pointer])

    def test_the_same_key_makes_one_job(self):
        daemon = self.start()
        header = {"headers": {"Idempotency-Key": "a"}}
        first = daemon.post("/v1/jobs", job(), 201, **header)
        self.assertEqual(daemon.post("/v1/jobs", job(), 200, **header)["id"], first["id"])
        daemon.post("/v1/jobs", job(seed=4), 409, **header)
        daemon.stop()
        daemon = self.start()
        self.assertEqual(daemon.post("/v1/jobs", job(), 200, **header)["id"], first["id"])
        self.assertEqual(len(daemon.jobs()), 1)

    def test_the_list_in_pages(self):
        daemon = self.start()
        numbers = [daemon.submit(job(epochs=1, name=f"job {n}")) for n in range(7)]
        for number in numbers:
            daemon.wait(number)
        self.assertEqual([shown["id"] for shown in daemon.jobs("?limit=3")], numbers[::-1])
        self.assertEqual([shown["id"] for shown in daemon.jobs("?state=succeeded&limit=2")],
                         numbers[::-1])
        self.assertEqual(daemon.jobs("?state=failed"), [])
        # They are of all jobs, not of the page.
        counts = {"queued": 0, "running": 0, "paused": 0, "succeeded": 7, "failed": 0, "cancelled": 0}
        for query in ("?limit=1", "?state=failed", ""):
            self.assertEqual(daemon.get("/v1/jobs" + query)["counts"], counts, query)
        daemon.get("/v1/jobs?cursor=nonsense", 422)
        daemon.get("/v1/jobs?state=asleep", 422)

    def test_by_priority_and_then_in_order(self):
        daemon = self.start()
        first = daemon.submit(support.long_job())
        daemon.wait_update(first, 1)
        numbers = [daemon.submit(job(epochs=1, priority=priority))
                   for priority in (0, -5, 7, 0, 7)]
        daemon.post(f"/v1/jobs/{first}/cancel")
        ended = sorted((daemon.wait(number) for number in numbers),
                       key=lambda shown: (shown["started_at"], shown["finished_at"]))
        self.assertEqual([shown["id"] for shown in ended],
                         [numbers[place] for place in (2, 4, 0, 3, 1)])

    def test_two_workers_share_the_threads(self):
        daemon = self.start("--workers", "2", "--threads", "2")
        numbers = [daemon.submit(support.long_job(seed=seed)) for seed in (1, 2, 3)]
        for number in numbers[:2]:
            self.assertEqual(daemon.wait_update(number, 5)["threads"], 1)
        self.assertEqual(daemon.job(numbers[2])["state"], "queued")
        daemon.post(f"/v1/jobs/{numbers[0]}/cancel")
        daemon.wait_update(numbers[2], 5)
        self.assertEqual(daemon.job(numbers[1])["state"], "running")

    def test_a_jobs_own_threads_go_before_its_share(self):
        daemon = self.start("--threads", "2", "--workers", "2")
        number = daemon.submit(job(threads=2))
        self.assertEqual(daemon.wait(number)["threads"], 2)
        self.assertIn("with 2 threads", daemon.log())
        for path, body, place in (
                ("/v1/jobs", job(threads=3), "/threads"),
                ("/v1/sweeps", {"job": job(), "grid": {"/threads": [2, 3]}}, "/grid/~1threads/1")):
            told = daemon.post(path, body, 422)["errors"]
            self.assertEqual([error["pointer"] for error in told], [place])
            self.assertIn("2 threads in all", told[0]["detail"])

    def test_ranks_do_what_one_does(self):
        daemon = self.start("--threads", "3")
        told = []
        for ranks in (1, 2):
            number = daemon.submit(job("m-arwp", device="reference", world_size=ranks, threads=ranks))
            daemon.wait(number)
            told.append([(loss["loss"], loss["perturbed_loss"]) for loss in daemon.losses(number)])
        self.assertEqual(told[0], told[1])  # a gradient each: not a bit is another
        daemon.wait_log("in 2 ranks")
        # oneDNN keeps primitives for all threads, and ThreadSanitizer cannot see how it guards them.
        device = "reference" if "RWPD_TEST_OPTIONS" in os.environ else "cpu"
        number = daemon.submit(job(device=device, world_size=3, threads=3))
        shown = daemon.wait(number)
        self.assertEqual((shown["spec"]["world_size"], shown["updates_done"]), (3, 15))
        self.assertEqual(daemon.job(daemon.submit(job(threads=1)))["spec"]["world_size"], 1)
        for ranks in (0, 9, 1.5, "two", None):
            problem = daemon.post("/v1/jobs", job(world_size=ranks), 422)
            self.assertEqual([error["pointer"] for error in problem["errors"]], ["/world_size"])
        problem = daemon.post("/v1/jobs", job(world_size=8, batch_size=5), 422)
        self.assertEqual([error["pointer"] for error in problem["errors"]], ["/world_size"])
        self.assertIn("not enough samples", problem["errors"][0]["detail"])

    def test_a_resumed_job_keeps_its_threads(self):
        daemon = self.start("--threads", "2")
        number = daemon.submit(support.long_job())
        self.assertEqual(daemon.wait_update(number, 5)["threads"], 2)
        daemon.stop()
        daemon = self.start("--threads", "1")
        self.assertEqual(daemon.wait_update(number, 5)["threads"], 2)
        daemon.wait_log("with 2 threads,", times=2)

    def test_the_queue_has_a_limit(self):
        daemon = self.start("--queue-limit", "2")
        running = daemon.submit(support.long_job())
        daemon.wait(running, "running")
        for _ in range(2):
            daemon.submit(job())
        answer = daemon.expect(429, "POST", "/v1/jobs", body=job())
        self.assertIn("Retry-After", answer.headers)
        self.assertEqual(len(daemon.jobs()), 3)

    def test_speed_and_the_time_that_is_left(self):
        daemon = self.start()
        number = daemon.submit(support.long_job())
        shown = daemon.wait_until(number, lambda shown: shown["updates_per_second"],
                                  "to have a speed", 120)
        start, before = time.monotonic(), shown["updates_done"]
        ratio, end = 0, start + 60 * support.SLOW
        # The two means are of different times: where others use the machine, they may part for a while.
        while not 0.5 < ratio < 2:
            self.assertLess(time.monotonic(), end, f"the last ratio was {ratio}")
            time.sleep(0.5)
            shown = daemon.job(number)
            measured = (shown["updates_done"] - before) / (time.monotonic() - start)
            ratio = shown["updates_per_second"] / measured if measured else 0
        left = (shown["updates"] - shown["updates_done"]) / shown["updates_per_second"]
        self.assertGreaterEqual(shown["eta_seconds"], 0.5 * left)
        daemon.post(f"/v1/jobs/{number}/cancel")
        shown = daemon.wait(number, "cancelled")
        self.assertEqual((shown["updates_per_second"], shown["eta_seconds"]), (None, None))


class Trouble(support.Case):
    """Jobs that cannot end well."""

    def test_a_loss_that_is_no_number_fails_the_job_and_keeps_the_history(self):
        daemon = self.start()
        number = daemon.submit(job(epochs=50, optimizer={"kind": "sgd", "lr": 1e9}))
        after = daemon.submit(job())
        shown = daemon.wait(number, "failed")
        self.assertRegex(shown["reason"], r"loss .* is (NaN|-?Infinity)$")
        losses = daemon.losses(number)
        self.assertEqual(len(losses), shown["updates_done"])
        self.assertGreater(len(losses), 0)
        self.assertLess(len(losses), 250)
        self.assertIn(losses[-1]["loss"], ("NaN", "Infinity", "-Infinity"))
        self.assertIn(str(losses[-1]["update"]), shown["reason"])
        self.assertFalse(any(isinstance(loss["loss"], str) for loss in losses[:-1]))
        self.assertEqual(shown["loss"], losses[-1]["loss"])
        daemon.wait(after)

    def test_a_job_whose_dataset_vanished_waits_with_the_reason(self):
        folder = self.idx_folder()
        daemon = self.start()
        blocker = daemon.submit(support.long_job())
        number = daemon.submit(job(dataset={"kind": "idx", "path": folder}, batch_size=4))
        gone = folder + "/train-images-idx3-ubyte"
        with open(gone, "rb") as file:
            images = file.read()
        for damage, says in ((None, "train-images-idx3-ubyte"), (images[:-5], "train-images")):
            os.unlink(gone)
            if damage is not None:
                with open(gone, "wb") as file:
                    file.write(damage)
            daemon.post(f"/v1/jobs/{blocker}/cancel")
            shown = daemon.wait(number, "paused")
            self.assertIn(says, shown["reason"])
            with open(gone, "wb") as file:
                file.write(images)
            daemon.post(f"/v1/jobs/{number}/resume")
            self.assertIsNone(daemon.wait(number, "succeeded")["reason"])
            blocker = daemon.submit(support.long_job())
            daemon.wait(blocker, "running")
            number = daemon.submit(job(dataset={"kind": "idx", "path": folder}, batch_size=4))

    def idx_folder(self):
        folder = os.path.join(self.folder, "data")
        os.mkdir(folder)
        for prefix, n in (("train", 12), ("t10k", 6)):
            with open(f"{folder}/{prefix}-images-idx3-ubyte", "wb") as file:
                file.write(bytes([0, 0, 8, 3]) + b"".join(k.to_bytes(4, "big") for k in (n, 8, 8)))
                file.write(bytes((37 * k) % 251 for k in range(n * 64)))
            with open(f"{folder}/{prefix}-labels-idx1-ubyte", "wb") as file:
                file.write(bytes([0, 0, 8, 1]) + n.to_bytes(4, "big") + bytes(k % 3 for k in range(n)))
        return folder

    def test_a_folder_of_ones_own_trains(self):
        daemon = self.start()
        number = daemon.submit(job(dataset={"kind": "idx", "path": self.idx_folder()}, batch_size=4))
        self.assertEqual(daemon.wait(number)["facts"]["test_samples"], 6)

    def test_a_dataset_that_grew_is_not_the_one_that_was_submitted(self):
        folder = self.idx_folder()
        daemon = self.start()
        blocker = daemon.submit(support.long_job())
        number = daemon.submit(job(dataset={"kind": "idx", "path": folder}, batch_size=4))
        for name in ("images-idx3", "labels-idx1"):
            with open(f"{folder}/t10k-{name}-ubyte", "rb") as file, \
                    open(f"{folder}/train-{name}-ubyte", "wb") as to:
                to.write(file.read())
        daemon.post(f"/v1/jobs/{blocker}/cancel")
        self.assertIn("dataset has changed", daemon.wait(number, "paused")["reason"])


class Left(support.Case):
    """Series and checkpoints of a finished job."""

    def finished(self, **changes):
        daemon = self.start()
        number = daemon.submit(job("m-rwp", 40, **changes))
        daemon.wait(number)
        return daemon, f"/v1/jobs/{number}"

    def table(self, daemon, path):
        answer = daemon.expect(200, "GET", path, headers={"Accept": "text/csv"})
        self.assertEqual(answer.headers.get_content_type(), "text/csv")
        return list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))

    def test_series_as_csv_and_json_agree(self):
        daemon, path = self.finished(telemetry={"every_updates": 3})
        for series, key in (("losses", "update"), ("epochs", "epoch"), ("telemetry", "update")):
            rows = daemon.get(f"{path}/{series}")[series]
            table = self.table(daemon, f"{path}/{series}")
            self.assertEqual(len(table), len(rows))
            for row, line in zip(rows, table):
                self.assertEqual(int(line[key]), row[key])
                for name, value in row.items():
                    if isinstance(value, float):
                        self.assertEqual(float(line[name]), value, name)

    def test_telemetry_has_what_a_method_has(self):
        daemon = self.start("--workers", "2")
        numbers = {method: daemon.submit(job(method, telemetry={"every_updates": 4}))
                   for method in support.METHODS}
        adapted = {"fisher_scale_min", "fisher_scale_median", "fisher_scale_max"}
        noisy = {"perturbed_loss", "perturbation_norm", "perturbed_gradient_norm"}
        clean = {"clean_loss", "gradient_norm"}
        known = {"sgd": clean, "rwp": noisy, "arwp": noisy | adapted}
        for method, number in numbers.items():
            daemon.wait(number)
            rows = daemon.get(f"/v1/jobs/{number}/telemetry")["telemetry"]
            self.assertEqual([row["update"] for row in rows], [4, 8, 12])
            losses = daemon.losses(number)
            for row in rows:
                expected = known.get(method, clean | noisy | {"cosine"} |
                                     (adapted if method == "m-arwp" else set()))
                told = {name for name, value in row.items() if value is not None}
                self.assertEqual(told - {"update", "epoch"}, expected, method)
                loss = losses[row["update"] - 1]
                self.assertIn(loss["loss"], (row["clean_loss"], row["perturbed_loss"]))
            part = daemon.get(f"/v1/jobs/{number}/telemetry?after=4&limit=1")
            self.assertEqual((part["telemetry"], part["next_after"]), (rows[1:2], 8))
        thin = daemon.get(f"/v1/jobs/{daemon.submit(job())}/telemetry?points=10")
        self.assertEqual(thin["telemetry"], [])

    def test_a_series_can_be_read_in_parts_and_thinned(self):
        daemon, path = self.finished()
        rows = daemon.get(f"{path}/losses")["losses"]
        part = daemon.get(f"{path}/losses?after=190&limit=7")["losses"]
        self.assertEqual(part, rows[190:197])
        thin = daemon.get(f"{path}/losses?points=20")
        self.assertTrue(thin["thinned"])
        self.assertLess(len(thin["losses"]), 60)
        updates = [row["update"] for row in thin["losses"]]
        self.assertEqual(updates, sorted(set(updates)))
        for extreme in (min, max):
            self.assertIn(extreme(rows, key=lambda row: row["loss"]), thin["losses"])
        self.assertEqual(thin["losses"][-1], rows[-1])

    def test_checkpoints_come_whole_in_ranges_and_with_a_checksum(self):
        daemon, path = self.finished(checkpoint={"every_epochs": 10, "keep": 3})
        listed = daemon.get(f"{path}/checkpoints")["checkpoints"]
        self.assertEqual([entry["update"] for entry in listed], [100, 150, 200])
        self.assertEqual([entry["final"] for entry in listed], [False, False, True])
        answer = daemon.expect(200, "GET", f"{path}/checkpoints/200")
        tensors = support.read_safetensors(answer.body)
        self.assertEqual(tensors["conv1.weight"][:2], ("F32", (4, 1, 3, 3)))
        self.assertIn("bn1.num_batches_tracked", tensors)
        self.assertFalse(any(name.startswith("momentum.") for name in tensors))
        self.assertTrue(any(name.startswith("momentum.") for name in support.read_safetensors(
            daemon.expect(200, "GET", f"{path}/checkpoints/latest?state=full").body)))
        self.assertEqual(int(answer.headers["Content-Length"]), len(answer.body))
        self.check_ranges(daemon, f"{path}/checkpoints/200", answer)
        daemon.get(f"{path}/checkpoints/50", 404)
        daemon.get(f"{path}/checkpoints/201", 404)

    def check_ranges(self, daemon, path, whole):
        body, size = whole.body, len(whole.body)
        digest = hashlib.sha256(body)
        self.assertIn(base64.b64encode(digest.digest()).decode(),
                      whole.headers.get("Repr-Digest", "") + whole.headers.get("Digest", ""))
        for text, part in (("bytes=0-0", body[:1]), ("bytes=5-1004", body[5:1005]),
                           (f"bytes={size - 3}-", body[-3:]), ("bytes=-10", body[-10:]),
                           (f"bytes=100-{10 * size}", body[100:])):
            answer = daemon.expect(206, "GET", path, headers={"Range": text})
            self.assertEqual(answer.body, part, text)
            self.assertIn(f"/{size}", answer.headers["Content-Range"])
        daemon.expect(416, "GET", path, headers={"Range": f"bytes={size}-"})
        tag = whole.headers["ETag"]
        daemon.expect(304, "GET", path, headers={"If-None-Match": tag})
        changed = {"Range": "bytes=0-9", "If-Range": '"other"'}
        self.assertEqual(daemon.expect(200, "GET", path, headers=changed).body, body)


class Around(support.Case):
    """What tells of the daemon itself."""

    def test_health_metrics_and_description(self):
        daemon = self.start("--workers", "2")
        self.assertEqual(daemon.get("/livez")["status"], "ok")
        self.assertEqual(daemon.get("/readyz")["status"], "ok")
        daemon.wait(daemon.submit(job()))
        text = daemon.expect(200, "GET", "/metrics").body.decode()
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
        self.assertEqual(values['rwpd_jobs{state="succeeded"}'], "1")
        self.assertEqual(values["rwpd_losses"], "15")
        self.assertEqual(values["rwpd_workers"], "2")
        description = daemon.get("/openapi.json")
        self.assertTrue(description["openapi"].startswith("3.1"))
        for path in ("/v1/jobs", "/v1/jobs/{id}/events", "/metrics"):
            self.assertIn(path, description["paths"])

    def test_what_can_be_asked_for(self):
        daemon = self.start()
        methods = json.dumps(daemon.get("/v1/methods"))
        for method in support.METHODS:
            self.assertIn(f'"{method}"', methods)
        for path, word in (("models", "resnet18"), ("datasets", "digits"), ("devices", "reference")):
            self.assertIn(f'"{word}"', json.dumps(daemon.get(f"/v1/{path}")))

    def test_gpus_that_are_not_there(self):
        daemon = self.start(environment={"RWPD_CUDA_DRIVER": "/nowhere/libcuda.so.1"})
        self.assertEqual([device["name"] for device in daemon.get("/v1/devices")["devices"]],
                         ["cpu", "reference"])
        for device in ("cuda", "cuda:3"):
            answer = daemon.post("/v1/jobs", job(device=device), 422)
            self.assertEqual([error["pointer"] for error in answer["errors"]], ["/device"])
            self.assertIn("no GPU here", answer["errors"][0]["detail"])

    def test_gpus_and_what_they_are_doing(self):
        fake = os.path.join(os.environ.get("RWPD_BUILD", ""), "tests/engine/cuda/libfake_gpu.so")
        if not os.path.exists(fake):
            self.skipTest("the fake GPUs are not built")
        daemon = self.start(environment={"RWPD_CUDA_DRIVER": fake, "RWPD_CUDA_MODULE": fake,
                                         "RWPD_NVML": fake})
        first, second, *others = daemon.get("/v1/devices")["devices"]
        self.assertEqual((first["name"], first["description"], first["memory_bytes"]),
                         ("cuda:0", "Fake GPU", 80 << 30))
        self.assertEqual((first["memory_used_bytes"], first["utilisation"],
                          first["temperature_celsius"], first["processes"]), (3 << 30, 0.42, 55, 3))
        self.assertNotIn("temperature_celsius", second)
        metrics = daemon.expect(200, "GET", "/metrics").body.decode()
        self.assertIn('rwpd_gpu_utilisation{device="cuda:0",uuid="' + first["uuid"] + '"} 0.42\n',
                      metrics)
        self.assertTrue(second["uuid"].startswith("GPU-"))
        self.assertEqual([device["name"] for device in others], ["cpu", "reference"])
        done = daemon.wait(daemon.submit(job(epochs=1, device="cuda")))
        self.assertEqual((done["state"], done["facts"]["device"], done["facts"]["precision"]),
                         ("succeeded", "cuda:0", "tf32"))
        answer = daemon.post("/v1/jobs", job(device="cuda:2"), 422)
        self.assertEqual([error["pointer"] for error in answer["errors"]], ["/device"])

    def test_many_at_once(self):
        daemon = self.start("--workers", "2")
        numbers, lock = [], threading.Lock()

        def post():
            for _ in range(5):
                number = daemon.submit(job(epochs=1))
                with lock:
                    numbers.append(number)

        threads = [threading.Thread(target=post) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(set(numbers)), 40)
        for number in numbers:
            daemon.wait(number)


if __name__ == "__main__":
    support.run_tests()
