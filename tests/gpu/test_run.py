#!/usr/bin/env python3
"""tests/gpu/run without a GPU: what becomes of parts that fail, crash and hang, and of the report; and
with BUILD, the whole of it, small, with the host in the place of the GPU.

    test_run.py [BUILD]
"""

import copy
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import processes  # noqa: E402
import report as reports  # noqa: E402
import toolkit  # noqa: E402

BUILD = None
HEAD = ('{"device": "Fake H200", "uuid": "GPU-fake", "memory_bytes": 1, "multiprocessors": 132, '
        '"capability": 90, "rwpd": "0"}\n{"cudnn": 91900}\nno JSON\n'
        '{"properties": {"number": 7}}')
GOOD = '{"group": "g", "name": "n", "ok": true, "seconds": 0.1}'
BAD = '{"group": "g", "name": "m", "ok": false, "seconds": 0.1, "message": "off by 1"}'
GPU_CHECK = f"""#!/usr/bin/env python3
import os, signal, sys, time
part = sys.argv[sys.argv.index("--part") + 1]
with open(sys.argv[sys.argv.index("--report") + 1], "w") as report:
    print('''{HEAD}''', file=report, flush=True)
    print('''{GOOD}''', file=report, flush=True)
    if part == "graphs":
        os.kill(os.getpid(), signal.SIGSEGV)
    if part == "nets":
        if os.fork() == 0:  # a child that would outlive it
            with open(os.environ["FAKE_CHILD"], "w") as file:
                file.write(str(os.getpid()))
        time.sleep(1000)
    if part == "runs":
        print('''{BAD}''', file=report, flush=True)
    print('{{"passed": 1, "failed": %d}}' % (part == "runs"), file=report)
sys.exit(1 if part == "runs" else 77 if part == "sizes" else 0)
"""
# Opens three times: then it crashes.
GPU_BENCH = """#!/usr/bin/env python3
import sys
opened = 0
for line in sys.stdin:
    if line.startswith("open"):
        opened += 1
        if opened > 3:
            sys.exit(5)
        print('{"ready": true, "seconds": 1, "memory_bytes": 5, "gflop": 8, "gbyte": 2, '
              '"roof_seconds": 0.001}', flush=True)
    elif line.startswith("round"):
        n = int(line.split()[1])
        print('{"seconds": %g, "updates": %d, "processor_seconds": 0.001, "loss": 2.3}'
              % (0.2 * n, 100 * n), flush=True)
    else:
        print('{"closed": true}', flush=True)
"""


def put(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def read(folder):
    with open(os.path.join(folder, "report.json"), encoding="utf-8") as file:
        return json.load(file)


def alive(pid):
    """Whether it runs; one that has ended and was not waited for does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Fakes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="rwpd-gpu-test-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.out = os.path.join(self.folder, "out")
        self.child = os.path.join(self.folder, "child")
        put(os.path.join(self.folder, "tests/gpu/gpu_check"), GPU_CHECK, 0o755)
        put(os.path.join(self.folder, "tests/gpu/gpu_bench"), GPU_BENCH, 0o755)

    def command(self, *more):
        return [sys.executable, os.path.join(HERE, "run"), "--built", self.folder, "--out", self.out,
                "--without", "memory,races", "--peer-device", "cpu", *more]

    def environment(self):
        # Whatever PyTorch this machine has is none of this test's business.
        blind = os.path.join(self.folder, "blind")
        put(os.path.join(blind, "torch.py"), "raise ImportError('none')\n")
        return {**os.environ, "FAKE_CHILD": self.child, "PYTHONPATH": blind}

    def test_failures(self):
        done = subprocess.run(self.command("--seconds", "20"), env=self.environment(), text=True,
                              capture_output=True, check=False)
        report = read(self.out)
        self.assertEqual(reports.problems(report), [])
        self.assertEqual(done.returncode, 1)
        parts = {part["name"]: part for part in report["parts"]}
        states = {name: part["state"] for name, part in parts.items()}
        self.assertEqual(states["operations"], "passed")
        self.assertEqual(states["graphs"], "failed")
        self.assertIn("-11", parts["graphs"]["why"])
        self.assertEqual(states["nets"], "killed")
        self.assertEqual(states["runs"], "failed")
        self.assertEqual(states["sizes"], "failed")
        self.assertIn("no GPU", parts["sizes"]["why"])
        self.assertEqual(states["memory"], "not run")
        # Cases that were done before an end are told.
        self.assertEqual({c["part"] for c in report["cases"] if c["ok"]} & {"graphs", "nets"},
                         {"graphs", "nets"})
        self.assertIn("off by 1", done.stdout)
        # 1 case; graphs, nets and sizes as such; bench, which crashed now and then.
        self.assertEqual(states["bench"], "failed")
        self.assertEqual(report["failed"], 5)
        self.assertEqual(done.stdout.strip().splitlines()[-1],
                         f"{report['passed']} passed, 5 failed")
        self.check_bench(report)
        with open(os.path.join(self.out, "device.json"), encoding="utf-8") as file:
            self.assertEqual(json.load(file), {"number": 7})
        self.assertEqual(report["versions"]["cudnn"], 91900)
        known = report["device"]["known"]
        self.assertEqual(known["file"], "tests/engine/cuda/h200.json")
        self.assertIn("number", known["differs"])
        with open(self.child, encoding="utf-8") as file:
            self.assertFalse(alive(int(file.read())))

    def check_bench(self, report):
        rows = report["bench"]["measurements"]
        first = rows[0]
        self.assertEqual((first["model"], first["method"], first["precision"]),
                         ("resnet18", "sgd", "bf16"))
        self.assertAlmostEqual(first["ours"]["ms"], 2.0)
        self.assertAlmostEqual(first["ours"]["images_per_second"], 128000)
        self.assertAlmostEqual(first["ours"]["tflops"], 4.0)
        self.assertAlmostEqual(first["ours"]["roof_share"], 0.5)
        self.assertIn("no PyTorch", first["pytorch"]["reference"]["skipped"])
        bad = [row["ours"]["failed"] for row in rows if "failed" in row["ours"]]
        self.assertIn("ended with 5", bad[0])
        self.assertLess(len(bad), len(rows) / 2)  # it was started again
        self.assertEqual(len(rows) + len(report["bench"]["not_run"]), 5 * 7 * 2)
        goals = {goal["goal"].split(":")[0]: goal for goal in report["goals"]}
        self.assertTrue(goals["ResNet-18, SGD"]["met"] is None)  # PyTorch was not there
        self.assertTrue(goals["ResNet-18"]["met"])

    def test_no_time(self):
        """What was not measured is named, each model, method and precision once."""
        path = os.path.join(self.folder, "lines")
        done = subprocess.run([sys.executable, os.path.join(HERE, "bench"), "--program",
                               os.path.join(self.folder, "tests/gpu/gpu_bench"), "--out", path,
                               "--seconds", "0"], env=self.environment(), check=False)
        self.assertEqual(done.returncode, 0)
        bench = reports.bench_of(reports.read_lines(path))
        self.assertEqual(bench["measurements"], [])
        rows = {(m["model"], m["method"], m["precision"]) for m in bench["not_run"]}
        self.assertEqual((len(bench["not_run"]), len(rows)), (70, 70))

    def test_ended_from_outside(self):
        process = subprocess.Popen(self.command("--seconds", "500", "--only", "nets,bench"),
                                   env=self.environment(), stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not (os.path.exists(self.child) and os.path.getsize(self.child)):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 1)
        report = read(self.out)
        self.assertEqual(reports.problems(report), [])
        states = {part["name"]: part["state"] for part in report["parts"]}
        self.assertIn(states["nets"], ("failed", "not run"))
        self.assertEqual(states["bench"], "not run")
        with open(self.child, encoding="utf-8") as file:
            pid = int(file.read())
        while alive(pid):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_nothing_built(self):
        os.remove(os.path.join(self.folder, "tests/gpu/gpu_check"))
        os.remove(os.path.join(self.folder, "tests/gpu/gpu_bench"))
        done = subprocess.run(self.command("--seconds", "20"), env=self.environment(),
                              capture_output=True, check=False)
        report = read(self.out)
        self.assertEqual(reports.problems(report), [])
        self.assertEqual(done.returncode, 1)
        self.assertNotIn("passed", [part["state"] for part in report["parts"]])


class Reports(unittest.TestCase):
    def setUp(self):
        self.times = {"ms": 2.0, "images_per_second": 128000.0, "rounds_ms": [2.0],
                      "processor_share": 0.05}
        sgd = {"model": "resnet18", "method": "sgd", "precision": "bf16", "batch": 256, "side": 32,
               "ours": self.times, "pytorch": {"graph": {**self.times, "ms": 5.0}}, "best": "graph",
               "over_best": 2.5}
        mixed = {**sgd, "method": "m-rwp", "ours": {**self.times, "ms": 3.8}, "over_best": 1.2}
        self.report = {
            "format": 1, "date": "2026-01-01T00:00:00Z", "commit": None, "changed": None,
            "command": [], "seconds": 1.0, "budget_seconds": 480, "device": dict.fromkeys(reports.DEVICE),
            "versions": {**dict.fromkeys(reports.VERSIONS), "python": "3", "system": "Linux"},
            "host": {"processor": "x", "cores": 2},
            "parts": [{"name": "nets", "state": "passed", "seconds": 1.0, "passed": 1, "failed": 0}],
            "cases": [{"group": "g", "name": "n", "ok": True, "seconds": 0.1, "part": "nets"}],
            "bench": {**reports.bench_of([]), "measurements": [sgd, mixed]}, "goals": [],
            "passed": 1, "failed": 0}
        self.report["goals"] = reports.goals(self.report["bench"])

    def test_whole(self):
        self.assertEqual(reports.problems(self.report), [])
        text = reports.table(self.report)
        self.assertIn("goal PASS: ResNet-18, SGD: images a second", text)
        self.assertIn("goal FAIL: ResNet-18: an m-RWP update on two streams", text)
        self.assertIn("got 1.9", text)
        self.assertIn("goal not measured: WRN-28-10", text)

    def test_broken(self):
        """Each member that is missing or of another type is found."""
        members = {(): reports.SCHEMA, ("device",): reports.DEVICE, ("host",): reports.HOST,
                   ("versions",): reports.VERSIONS, ("bench",): reports.BENCH,
                   ("parts", 0): reports.PART, ("cases", 0): reports.CASE,
                   ("goals", 0): reports.GOAL, ("bench", "measurements", 0): reports.MEASUREMENT,
                   ("bench", "measurements", 0, "ours"): reports.TIMES}
        tried = 0
        for path, names in members.items():
            for name in names:
                for change in ("gone", "wrong"):
                    broken = copy.deepcopy(self.report)
                    at = broken
                    for step in path:
                        at = at[step]
                    if change == "gone":
                        del at[name]
                    else:
                        at[name] = object()
                    self.assertNotEqual(reports.problems(broken), [], f"{path} {name} {change}")
                    tried += 1
        self.assertGreater(tried, 100)

    def test_silent_failure(self):
        self.report["parts"][0]["state"] = "killed"
        self.assertNotEqual(reports.problems(self.report), [])
        self.report["parts"][0].update(state="passed")
        self.report["cases"][0]["ok"] = False
        self.assertNotEqual(reports.problems(self.report), [])

    def test_half_a_line(self):
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.write('{"a": 1}\nnone\n{"b": 2}\n{"c": ')
            file.flush()
            self.assertEqual(reports.read_lines(file.name), [{"a": 1}, {"b": 2}])
        self.assertEqual(reports.read_lines("/nowhere/at/all"), [])


class Toolkits(unittest.TestCase):
    """CUDA as it may lie on a machine."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="rwpd-toolkit-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def make(self, root, *files):
        for name in files:
            put(os.path.join(self.folder, root, name), "#!/bin/sh\necho release 13.0\n",
                0o755 if name.startswith("bin/") else 0o644)
        return os.path.join(self.folder, root)

    def find(self, toolkits, packages):
        with mock.patch.object(toolkit, "_toolkits", lambda: toolkits), \
                mock.patch.object(toolkit, "_python_folders", lambda: packages):
            return toolkit.find(os.path.join(self.folder, "links"))[0]

    def test_whole(self):
        root = self.make("cuda", "bin/nvcc", "lib64/libcudart.so", "lib64/libcublasLt.so",
                         "lib64/libcudnn.so", "include/cuda_runtime_api.h", "include/cublasLt.h",
                         "include/cudnn.h")
        self.assertEqual(self.find([root], []), root)

    def test_scattered(self):
        """A compiler in one place, cuDNN in a Python package, whose libraries have versions only."""
        root = self.make("cuda", "bin/nvcc", "lib64/libcudart.so", "lib64/libcudart.so.13",
                         "targets/x86_64-linux/include/cuda_runtime_api.h")
        packages = [self.make("nvidia/cu13", "lib/libcublasLt.so.13", "include/cublasLt.h",
                              "lib/libnvrtc.so.13", "lib/libcudart.so.13"),
                    self.make("nvidia/cudnn", "lib/libcudnn.so.9", "lib/libcudnn_graph.so.9",
                              "include/cudnn.h", "include/cudnn_graph.h")]
        found = self.find([root], packages)
        self.assertTrue(toolkit.is_whole(found))
        for name in ("libcudnn.so", "libcudnn.so.9", "libcudnn_graph.so.9", "libcublasLt.so",
                     "libnvrtc.so.13"):
            self.assertTrue(os.path.exists(os.path.join(found, "lib64", name)), name)
        # The compiler's own library, and not another package's.
        self.assertEqual(os.path.realpath(os.path.join(found, "lib64/libcudart.so.13")),
                         os.path.realpath(os.path.join(root, "lib64/libcudart.so.13")))
        said = subprocess.run([os.path.join(found, "bin/nvcc"), "--version"], text=True,
                              capture_output=True, check=True).stdout
        self.assertIn("13.0", said)

    def test_missing(self):
        root = self.make("cuda", "bin/nvcc", "lib64/libcudart.so", "include/cuda_runtime_api.h")
        with self.assertRaisesRegex(FileNotFoundError, "libcudnn, cublasLt.h, cudnn.h"):
            with mock.patch.object(toolkit, "_include_folders",
                                   lambda r: [os.path.join(r, "include")] if r == root else []), \
                    mock.patch.object(toolkit, "_library_folders",
                                      lambda r: [os.path.join(r, "lib64")] if r == root else []):
                put(os.path.join(root, "lib64/libcublasLt.so.13"), "")
                self.find([root], [])
        with self.assertRaisesRegex(FileNotFoundError, "no nvcc"):
            self.find([], [])


class Processes(unittest.TestCase):
    def test_limits(self):
        with tempfile.TemporaryDirectory() as folder:
            log = os.path.join(folder, "log")
            self.assertEqual(processes.run(["sh", "-c", "echo heard; exit 3"], log, 60), 3)
            start = time.monotonic()
            self.assertIsNone(processes.run(["sh", "-c", "trap '' TERM; sleep 1000"], log, 0.3))
            self.assertLess(time.monotonic() - start, 60)
            self.assertIsNone(processes.run(["true"], log, -1))
            with open(log, encoding="utf-8") as file:
                self.assertIn("heard", file.read())
            self.assertEqual(processes.RUNNING, set())

    def test_child(self):
        for program, said in (("echo no JSON", "it said"), ("exit 4", "ended with 4"),
                              ("sleep 1000", "no answer")):
            child = processes.Child(["sh", "-c", program], os.devnull)
            with self.assertRaisesRegex(processes.Gone, said):
                child.hear(0.5 if "sleep" in program else 60)
            self.assertIsNotNone(child.process.returncode)
        child = processes.Child(["sh", "-c", 'read x; echo "{\\"got\\": \\"$x\\"}"'], os.devnull)
        self.assertEqual(child.ask("this", 60), {"got": "this"})
        with self.assertRaises(processes.Gone):
            child.hear(60)


@unittest.skipUnless(os.path.isdir(sys.argv[-1]), "needs a build")
class Host(unittest.TestCase):
    """The programs themselves: every part, with few cases, passes, and the bench measures."""

    def test_everything(self):
        with tempfile.TemporaryDirectory(prefix="rwpd-gpu-test-") as out:
            done = subprocess.run(
                [sys.executable, os.path.join(HERE, "run"), "--built", BUILD, "--tiny", "--out", out,
                 "--seconds", "400", "--without", "memory,races", "--peer-device", "cpu"],
                capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout)
            report = read(out)
        self.assertEqual(reports.problems(report), [])
        self.assertEqual(report["failed"], 0)
        self.assertGreater(report["passed"], 100)
        self.assertEqual(report["device"]["name"], "Host")
        groups = {case["group"] for case in report["cases"]}
        self.assertEqual(groups, {"captured and replayed", "update", "the same bits twice",
                                  "captured as given one by one, and resumed", "one stream as two",
                                  "run", "operation", "derivative", "net", "product", "full size"})
        rows = report["bench"]["measurements"]
        self.assertEqual([row["method"] for row in rows], ["sgd", "m-arwp", "m-rwp"])
        self.assertTrue(all(row["ours"]["ms"] > 0 for row in rows))
        self.assertEqual(report["bench"]["not_run"], [])


if __name__ == "__main__":
    if os.path.isdir(sys.argv[-1]):
        BUILD = os.path.abspath(sys.argv[-1])
        unittest.main(argv=sys.argv[:-1], verbosity=1)
    unittest.main()
