#!/usr/bin/env python3
"""Jobs on a GPU that is emulated on the processor (tests/engine/cuda/faulty_gpu.c), and what becomes of
them, of the device and of the daemon when it has too little memory, fails, or is lost.

Environment, beside the others': RWPD_TEST_MODULE, the module of that GPU.
"""

import os
import re
import time

import support

MODULE = os.environ.get("RWPD_TEST_MODULE", os.path.join(support.ROOT, "build", "tests", "engine",
                                                         "cuda", "libfaulty_gpu.so"))
RESERVE = 8 << 20  # that the driver takes
LOST = 75          # the daemon's exit code


def gpu_job(method="sgd", epochs=2, **changes):
    """A few emulated updates a second: three an epoch, and one evaluation at the end."""
    return support.job(method, epochs, **{"device": "cuda", "batch_size": 8, "precision": "fp32",
                                          "model": {"kind": "resnet", "width": 2, "blocks": [1]},
                                          "dataset": {"kind": "digits", "train_limit": 24},
                                          "evaluate": {"every_epochs": 1000}, **changes})


class Gpu(support.Case):
    def setUp(self):
        super().setUp()
        self.gpu = os.path.join(self.folder, "gpu")
        os.mkdir(self.gpu)

    def start(self, *options, bytes=64 << 20, **environment):
        return super().start(*options, environment={
            "RWPD_CUDA_MODULE": MODULE, "RWPD_CUDA_DRIVER": MODULE, "RWPD_NVML": MODULE,
            "RWPD_TEST_GPU": self.gpu, "RWPD_TEST_GPU_BYTES": str(bytes), **environment})

    def put(self, name, text=""):
        """A file for the module, there at once and as a whole."""
        with open(os.path.join(self.gpu, name + ".new"), "w") as file:
            file.write(text)
        os.rename(file.name, os.path.join(self.gpu, name))

    def take_away(self, name):
        os.unlink(os.path.join(self.gpu, name))

    def device(self, daemon):
        return daemon.get("/v1/devices")["devices"][0]

    def ran_on(self, shown):
        return shown["measured"]["device"], shown["measured"]["precision"]

    def metrics(self, daemon):
        found = re.findall(r'^(rwpd_gpu_\w+)\{device="cuda:0",uuid="[^"]+".*\} (\S+)$',
                           daemon.request("GET", "/metrics").body.decode(), re.M)
        return {name: float(value) for name, value in found}


class Memory(Gpu):
    def test_a_job_holds_what_was_forecast(self):
        daemon = self.start()
        jobs = [gpu_job("m-arwp", telemetry={"every_updates": 2}), gpu_job("sam", precision="bf16"),
                gpu_job("rwp", 1, precision="tf32", model={"kind": "vit", "width": 8, "depth": 1,
                                                           "heads": 2, "mlp": 8, "patch": 4}),
                gpu_job("sgd", batch_size=10, evaluate={"every_epochs": 1},
                        optimizer={"kind": "adamw", "lr": 0.001, "clip_norm": 1})]
        for made in jobs:
            answer = daemon.post("/v1/jobs", made, 201)
            said = answer["estimate"]
            self.assertEqual((answer["facts"]["device"], said["basis"], said["seconds_per_update"]),
                             ("cuda:0", None, None))
            took = daemon.wait(answer["id"])["measured"]
            for what in ("memory_bytes", "device_memory_bytes"):
                self.assertEqual(said[what], took[what])
            self.assertGreater(said["device_memory_bytes"], 10000)
            self.assertGreater(said["memory_bytes"], said["device_memory_bytes"])
        on_cpu = daemon.post("/v1/jobs", support.job(device="cpu"), 201)
        self.assertIsNone(on_cpu["estimate"]["device_memory_bytes"])

    def test_a_job_that_can_never_fit_is_refused(self):
        made = gpu_job("m-arwp")
        needed = 16 << 20
        for _ in range(2):  # on a device with less room it may make do with less
            daemon = self.start(bytes=RESERVE + needed)
            needed = daemon.post("/v1/jobs", made, 201)["estimate"]["device_memory_bytes"]
            daemon.stop()

        daemon = self.start(bytes=RESERVE + needed - 1)
        for path, body, pointer in (
                ("/v1/jobs", made, "/batch_size"),
                ("/v1/sweeps", {"job": made, "grid": {"/seed": [1, 2]}}, "/job/batch_size")):
            problem = daemon.post(path, body, 422)
            self.assertEqual([error["pointer"] for error in problem["errors"]], [pointer])
            said = problem["errors"][0]["detail"]
            for part in ("on cuda:0", "0.01 more", "batch_size", "model.width", "precision bf16",
                         f"{needed / 2 ** 30:.2f} GiB", f"has {(RESERVE + needed) / 2 ** 30:.2f}"):
                self.assertIn(part, said)
        smaller = daemon.post("/v1/jobs", dict(made, batch_size=4), 201)
        self.assertLess(smaller["estimate"]["device_memory_bytes"], needed)
        daemon.stop()

        # One byte more, and there is just the room that it needs.
        daemon = self.start(bytes=RESERVE + needed)
        shown = daemon.wait(daemon.submit(made))
        self.assertEqual(shown["measured"]["device_memory_bytes"], needed)

    def test_memory_that_others_hold_fails_a_job_and_nothing_else(self):
        daemon = self.start()
        self.put("taken", str(56 << 20))
        first = daemon.submit(gpu_job())  # it would fit, but for them
        shown = daemon.wait(first, "failed")
        self.assertIn("memory is at its end", shown["reason"])
        self.take_away("taken")
        self.put("fault", "memory 1500")  # in the middle of a run
        shown = daemon.wait(daemon.submit(gpu_job(epochs=1000)), "failed")
        self.assertIn("error 2", shown["reason"])
        self.assertEqual(self.device(daemon)["state"], "ready")
        daemon.wait(daemon.submit(gpu_job()))


class Faults(Gpu):
    def test_a_fault_that_passes_fails_a_job_and_the_device_is_tested(self):
        daemon = self.start()
        self.assertEqual(self.device(daemon)["state"], "untested")
        self.put("fault", "passing 1500")
        shown = daemon.wait(daemon.submit(gpu_job(epochs=1000)), "failed")
        self.assertIn("error 46", shown["reason"])
        self.assertGreater(shown["updates_done"], 0)
        self.assertEqual(self.device(daemon)["state"], "ready")
        daemon.wait(daemon.submit(gpu_job()))

    def test_a_job_goes_on_after_a_fault_that_passes(self):
        made = gpu_job("m-arwp", 5, deterministic=True)
        daemon = self.start()
        truth = daemon.wait(daemon.submit(made))
        number = daemon.submit(made)
        daemon.wait_until(number, lambda shown: (shown["checkpoint_update"] or 0) >= 3,
                          "to have a checkpoint", 60)
        self.put("fault", "passing 0")
        shown = daemon.wait(number, "failed")
        self.assertIsNotNone(shown["finished_at"])
        self.assertEqual(daemon.post(f"/v1/jobs/{number}/resume")["result"], "queued")
        after = daemon.wait(number)
        self.assertEqual((after["test_loss"], after["starts"]), (truth["test_loss"], 2))
        self.assertEqual([loss["update"] for loss in daemon.losses(number)], list(range(1, 16)))

    def test_a_device_that_fails_its_test_is_set_aside(self):
        daemon = self.start()
        self.put("broken")
        first = daemon.submit(gpu_job())
        shown = daemon.wait(first, "paused")
        self.assertIn("cuda:0 is set aside", shown["reason"])
        device = self.device(daemon)
        self.assertEqual(device["state"], "set aside")
        self.assertIn("error 999", device["reason"])
        self.assertEqual(self.metrics(daemon)["rwpd_gpu_usable"], 0)
        daemon.wait(daemon.submit(support.job(device="cpu")))
        daemon.post(f"/v1/jobs/{first}/resume")
        daemon.wait(first, "paused")  # tried again, with the same end
        self.take_away("broken")
        daemon.post(f"/v1/jobs/{first}/resume")
        daemon.wait(first)
        device = self.device(daemon)
        self.assertEqual((device["state"], device["reason"]), ("ready", None))
        self.assertEqual(self.metrics(daemon)["rwpd_gpu_usable"], 1)

    def test_a_job_that_leaves_its_device_open_goes_where_it_can(self):
        daemon = self.start()
        shown = daemon.wait(daemon.submit(support.job()))
        first = shown["id"]
        self.assertEqual((shown["facts"]["device"], shown["facts"]["precision"]), ("cuda:0", "tf32"))
        daemon.stop()
        self.put("broken")
        daemon = self.start()
        number = daemon.submit(support.job())
        self.assertEqual(self.ran_on(daemon.wait(number)), ("cpu", "fp32"))
        said = [event["data"]["text"] for event in
                support.Events(daemon, f"/v1/jobs/{number}/events", last_id=0)
                if event["event"] == "message"]
        self.assertIn("on cpu in fp32 instead of cuda:0, which is set aside", "\n".join(said))
        self.assertIn("parameters on cpu in fp32", "\n".join(said))
        daemon.stop()

        # Where jobs ran stays true, whatever the machine has later.
        daemon = self.start(RWPD_CUDA_MODULE="/none")
        self.assertEqual(self.ran_on(daemon.get(f"/v1/jobs/{first}")), ("cuda:0", "tf32"))
        self.assertEqual(daemon.get(f"/v1/jobs/{first}")["facts"]["device"], "cpu")

    def test_jobs_share_the_gpus(self):
        daemon = self.start(RWPD_TEST_GPUS="2")
        self.assertEqual(daemon.get("/v1/devices")["workers"], 2)
        numbers = [daemon.submit(gpu_job(epochs=100000, device=device)) for device in ("auto", "cuda")]
        for number in numbers:
            daemon.wait(number, "running")
        shown = [daemon.wait_until(number, lambda job: job["updates_done"], "to train", 60)
                 for number in numbers]
        self.assertEqual([self.ran_on(job)[0] for job in shown], ["cuda:0", "cuda:1"])
        daemon.post(f"/v1/jobs/{numbers[0]}/cancel")
        daemon.wait(numbers[0], "cancelled")
        self.assertEqual(self.ran_on(daemon.wait(daemon.submit(gpu_job()))), ("cuda:0", "fp32"))
        self.assertEqual(self.ran_on(daemon.wait(daemon.submit(gpu_job(device="cuda:1"))))[0], "cuda:1")

    def test_a_device_that_breaks_pauses_its_job(self):
        made = gpu_job("m-arwp", 10, deterministic=True)
        daemon = self.start()
        truth = daemon.wait(daemon.submit(made))["test_loss"]
        number = daemon.submit(made)
        daemon.wait_until(number, lambda shown: (shown["checkpoint_update"] or 0) >= 3,
                          "to have a checkpoint", 60)
        self.put("broken")
        self.assertIn("cuda:0 is set aside", daemon.wait(number, "paused")["reason"])
        self.assertEqual(self.device(daemon)["state"], "set aside")
        self.take_away("broken")
        daemon.post(f"/v1/jobs/{number}/resume")
        self.assertEqual(daemon.wait(number)["test_loss"], truth)

    def test_a_probe_waits_for_its_device(self):
        daemon = self.start()
        on_gpu, on_cpu = daemon.submit(gpu_job(epochs=1)), daemon.submit(support.job(device="cpu"))
        daemon.wait(on_gpu)
        daemon.wait(on_cpu)
        self.put("broken")
        request = {"kind": "sharpness", "samples": 24, "draws": 1}
        waits = [daemon.post(f"/v1/jobs/{on_gpu}/probes", request, 201)["url"] for _ in range(3)]
        free = daemon.post(f"/v1/jobs/{on_cpu}/probes", request, 201)["url"]
        self.wait_for(daemon, free, "succeeded")
        # Each was tried once and is not tried again.
        shown = [self.wait_for(daemon, url, "queued", starts=1) for url in waits]
        for one in shown:
            self.assertIn("cuda:0 is set aside", one["reason"])
        daemon.wait(daemon.submit(support.job(device="cpu")))
        self.assertEqual([daemon.get(url)["starts"] for url in waits], [1] * 3)
        self.assertEqual(daemon.post(waits[2] + "/cancel")["result"], "cancelled")
        # While it is broken a start tries them once more.
        daemon.stop()
        daemon = self.start()
        for url in waits[:2]:
            self.wait_for(daemon, url, "queued", starts=2)
        self.take_away("broken")
        daemon.wait(daemon.submit(gpu_job(epochs=1)))
        for url in waits[:2]:
            self.assertEqual(self.wait_for(daemon, url, "succeeded")["starts"], 3)

    def wait_for(self, daemon, url, state, starts=None):
        end = time.monotonic() + 60 * support.SLOW
        while True:
            shown = daemon.get(url)
            if shown["state"] == state and starts in (None, shown["starts"]):
                return shown
            self.assertLess(time.monotonic(), end, shown)
            time.sleep(0.02)

    def test_a_device_that_is_lost_from_the_start_ends_nothing(self):
        """Another process would lose it as well."""
        self.put("fault", "lost 0 again")
        daemon = self.start()
        number = daemon.submit(gpu_job())
        for _ in range(2):
            self.assertIn("error 700", daemon.wait(number, "paused")["reason"])
            daemon.post(f"/v1/jobs/{number}/resume")
        daemon.wait(daemon.submit(support.job(device="cpu")))
        self.assertEqual(self.device(daemon)["state"], "set aside")
        daemon.stop()
        self.take_away("fault")
        daemon = self.start()
        if daemon.job(number)["state"] == "paused":
            daemon.post(f"/v1/jobs/{number}/resume")
        daemon.wait(number)

    def test_what_the_device_is_and_who_computes_on_it(self):
        daemon = self.start()
        self.put("taken", "3000000")
        device = self.device(daemon)
        self.assertEqual(device["description"], "Emulated GPU")
        self.assertEqual(device["uuid"], "GPU-00000000-0000-0000-0000-00000000000f")
        self.assertEqual((device["memory_bytes"], device["memory_used_bytes"]),
                         (64 << 20, RESERVE + 3000000))
        self.assertEqual((device["utilisation"], device["temperature_celsius"]), (0.37, 61))
        self.assertEqual(device["processes"], 2)
        other, = device["others"]  # the daemon is none
        with open("/proc/self/comm") as file:
            self.assertEqual(other, {"pid": os.getpid(), "name": file.read().strip(),
                                     "memory_bytes": 3000000})
        self.assertEqual(self.metrics(daemon), {
            "rwpd_gpu_info": 1, "rwpd_gpu_usable": 1, "rwpd_gpu_memory_bytes": 64 << 20,
            "rwpd_gpu_memory_used_bytes": RESERVE + 3000000, "rwpd_gpu_utilisation": 0.37,
            "rwpd_gpu_temperature_celsius": 61, "rwpd_gpu_processes": 2,
            "rwpd_gpu_other_processes": 1, "rwpd_gpu_other_memory_bytes": 3000000})
        self.assertIn('name="Emulated GPU"', daemon.request("GET", "/metrics").body.decode())
        daemon.stop()
        daemon = self.start(RWPD_TEST_GPU_PART="1")  # which has no temperature
        self.assertIsNone(self.device(daemon)["temperature_celsius"])
        self.assertNotIn("rwpd_gpu_temperature_celsius", self.metrics(daemon))


class Loss(Gpu):
    def outcome(self, daemon, number):
        shown = daemon.wait(number)
        return (support.read_safetensors(daemon.checkpoint(number)), shown["test_loss"],
                support.without_times(daemon.losses(number)),
                support.without_times(daemon.epochs(number)))

    def test_the_daemon_ends_and_the_next_one_goes_on(self):
        made = gpu_job("m-arwp", 10, deterministic=True)
        daemon = self.start("--workers", "2")
        truth = self.outcome(daemon, daemon.submit(made))
        on_cpu = daemon.submit(support.long_job(device="cpu"))
        daemon.wait_update(on_cpu, 10)
        number = daemon.submit(made)
        daemon.wait_until(number, lambda shown: (shown["checkpoint_update"] or 0) >= 3,
                          "to have a checkpoint", 60)
        self.put("fault", "lost 0")
        self.assertEqual(daemon.end(), LOST)
        self.assertIn("has to be started again", daemon.log())

        daemon = self.start("--workers", "2")
        self.assertEqual(self.outcome(daemon, number), truth)
        shown = daemon.job(number)
        self.assertEqual(shown["starts"], 2)
        states = list(self.states(daemon, number))
        self.assertEqual([state for state, _, _ in states],
                         ["queued", "running", "queued", "running", "succeeded"])
        self.assertRegex(states[2][1], r"goes on from update \d+: .*error 700")
        self.assertGreaterEqual(states[3][2], 3)
        other = daemon.wait(on_cpu, "running")  # it has stopped with a checkpoint
        self.assertGreaterEqual(other["checkpoint_update"], 10)

    def states(self, daemon, number):
        for event in support.Events(daemon, f"/v1/jobs/{number}/events", last_id=0):
            if event["event"] == "state":
                data = event["data"]
                yield data["state"], data["reason"], data["from_update"]

    def test_a_job_that_ends_the_daemon_again_and_again_has_failed(self):
        self.put("fault", "lost 1200 again")
        for start in range(3):
            daemon = self.start()
            if start == 0:
                number = daemon.submit(gpu_job(epochs=1000, checkpoint={"every_epochs": 0}))
            self.assertEqual(daemon.end(), LOST)
        self.take_away("fault")
        daemon = self.start()
        shown = daemon.job(number)
        self.assertEqual((shown["state"], shown["starts"]), ("failed", 3))
        self.assertIn("lost 3 times without a new checkpoint", shown["reason"])
        self.assertIn("error 700", shown["reason"])
        daemon.wait(daemon.submit(gpu_job()))

    def test_a_probe_is_queued_again_and_then_fails(self):
        daemon = self.start()
        number = daemon.submit(gpu_job(epochs=1))
        daemon.wait(number)
        self.put("fault", "lost 1200 again")
        request = {"kind": "sharpness", "samples": 24, "draws": 1000}
        probe = daemon.post(f"/v1/jobs/{number}/probes", request, 201)["url"]
        for _ in range(3):
            self.assertEqual(daemon.end(), LOST)
            daemon = self.start()
        shown = daemon.get(probe)
        self.assertEqual((shown["state"], shown["starts"]), ("failed", 3))
        self.assertIn("error 700", shown["reason"])


if __name__ == "__main__":
    support.run_tests()
