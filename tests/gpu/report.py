"""The report of tests/gpu/run: what it holds, how it is put together, and its table.

A report is one JSON object:

format      1
date        when it was begun, in UTC
commit      of the sources, and `changed`: whether the working tree had changes; null: not known
command     what tests/gpu/run was told; with --tiny nothing in it is a figure of a GPU
seconds     that it took, of `budget_seconds`
device      name, uuid, memory_bytes, multiprocessors, capability (90: 9.0), driver, …; known: the
            file of tests/engine/cuda that stands for it, and which members differ from cuDNN's
versions    rwpd, cuda (the compiler's), cudnn, pytorch with its own cuda and cudnn, python, …
host        processor, cores
parts       what was done, in this order: name, state, seconds, passed, failed, why
cases       gpu_check's: group, name, ok, seconds; error and what is allowed; message
bench       what tests/gpu/bench said: pytorch, ceilings, measurements, augmented, not_run
goals       what is wanted of one H200: goal, want, got, met (null: not measured)
passed, failed   cases and parts; goals are none of them

A part is `passed`, `failed`, `killed` (it took too long) or `not run`. `why` says why.
"""

import json

STATES = ("passed", "failed", "killed", "not run")
NUMBER, TEXT, YES, LIST, OBJECT = (int, float), str, bool, list, dict
NONE = type(None)

SCHEMA = {
    "format": int, "date": TEXT, "commit": (TEXT, NONE), "changed": (YES, NONE),
    "command": LIST, "seconds": NUMBER, "budget_seconds": NUMBER, "device": OBJECT, "versions": OBJECT,
    "host": OBJECT, "parts": LIST, "cases": LIST, "bench": OBJECT, "goals": LIST, "passed": int,
    "failed": int,
}
DEVICE = {"name": (TEXT, NONE), "uuid": (TEXT, NONE), "memory_bytes": (int, NONE),
          "multiprocessors": (int, NONE), "capability": (int, NONE), "driver": (TEXT, NONE)}
VERSIONS = {"rwpd": (TEXT, NONE), "cuda": (TEXT, NONE), "cudnn": (int, NONE),
            "pytorch": (TEXT, NONE), "pytorch_cuda": (TEXT, NONE), "pytorch_cudnn": (int, NONE),
            "python": TEXT, "compiler": (TEXT, NONE), "system": TEXT}
HOST = {"processor": TEXT, "cores": int}
PART = {"name": TEXT, "state": TEXT, "seconds": NUMBER}
CASE = {"group": TEXT, "name": TEXT, "ok": YES, "seconds": NUMBER, "part": TEXT}
BENCH = {"pytorch": OBJECT, "ceilings": OBJECT, "measurements": LIST, "augmented": (OBJECT, NONE),
         "not_run": LIST}
MEASUREMENT = {"model": TEXT, "method": TEXT, "precision": TEXT, "batch": int, "side": int,
               "ours": OBJECT, "pytorch": OBJECT}
TIMES = {"ms": NUMBER, "images_per_second": NUMBER, "rounds_ms": LIST, "processor_share": NUMBER}
GOAL = {"goal": TEXT, "want": TEXT, "got": (int, float, NONE), "met": (YES, NONE)}


def _wrong(value, members, where):
    """What is wrong with an object, in words."""
    if not isinstance(value, dict):
        return [f"{where} is no object"]
    wrong = []
    for name, kinds in members.items():
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        if name not in value:
            wrong.append(f"{where} has no {name}")
        elif not isinstance(value[name], kinds) or (isinstance(value[name], bool)
                                                    and bool not in kinds):
            wrong.append(f"{where}/{name} is {value[name]!r}")
    return wrong


def _wrong_measurement(m, where):
    wrong = _wrong(m, MEASUREMENT, where)
    if wrong:
        return wrong
    for name, side in (("ours", m["ours"]), *m["pytorch"].items()):
        if "failed" in side or "skipped" in side:
            continue
        wrong += _wrong(side, TIMES, f"{where}/{name}")
    return wrong


def problems(report):
    """What is wrong with a report, as a list of sentences."""
    wrong = _wrong(report, SCHEMA, "report")
    if wrong:
        return wrong
    if report["format"] != 1:
        wrong.append(f"format is {report['format']}")
    wrong += _wrong(report["device"], DEVICE, "device")
    wrong += _wrong(report["versions"], VERSIONS, "versions")
    wrong += _wrong(report["host"], HOST, "host")
    wrong += _wrong(report["bench"], BENCH, "bench")
    for kind, members in (("parts", PART), ("cases", CASE), ("goals", GOAL)):
        for number, item in enumerate(report[kind]):
            wrong += _wrong(item, members, f"{kind}/{number}")
    if wrong:
        return wrong
    for part in report["parts"]:
        if part["state"] not in STATES:
            wrong.append(f"part {part['name']} is {part['state']}")
        elif part["state"] != "passed" and not part.get("why"):
            wrong.append(f"part {part['name']} is {part['state']}, and nobody says why")
    for number, m in enumerate(report["bench"]["measurements"]):
        wrong += _wrong_measurement(m, f"measurements/{number}")
    for number, m in enumerate(report["bench"]["not_run"]):
        wrong += _wrong(m, {"model": TEXT, "method": TEXT, "precision": TEXT, "why": TEXT},
                        f"not_run/{number}")
    if not wrong and report["failed"] != _failures(report):
        wrong.append(f"failed is {report['failed']} and not {_failures(report)}")
    return wrong


def _failures(report):
    """Cases, and parts that failed otherwise than by their cases."""
    bad = sum(not case["ok"] for case in report["cases"])
    parts = sum(p["state"] in ("failed", "killed") and not p.get("failed") for p in report["parts"])
    return bad + parts


def count(report):
    report["passed"] = sum(c["ok"] for c in report["cases"]) + \
        sum(p["state"] == "passed" and not p.get("passed") for p in report["parts"])
    report["failed"] = _failures(report)


def read_lines(path):
    """Objects of a file of lines, of which the last may be half written, and any may be none."""
    found = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    found.append(json.loads(line))
                except ValueError:
                    continue
    except OSError:
        pass
    return [line for line in found if isinstance(line, dict)]


def bench_of(lines):
    """What the lines of tests/gpu/bench come to."""
    bench = {"pytorch": {}, "ceilings": {}, "measurements": [], "augmented": None, "not_run": []}
    for line in lines:
        for name, value in line.items():
            if name == "measurement":
                bench["measurements"].append(value)
            elif name == "not_run":
                bench["not_run"].append(value)
            elif name in bench:
                bench[name] = value
    return bench


# --- goals ----------------------------------------------------------------------------------------


def _find(bench, model, method, precision="bf16"):
    for m in bench["measurements"]:
        if (m["model"], m["method"], m["precision"]) == (model, method, precision):
            return m
    return {"ours": {}, "pytorch": {}}


def _goal(text, want, got, met):
    return {"goal": text, "want": want, "got": got, "met": None if got is None else bool(met(got))}


def goals(bench):
    """On one H200, bf16, batch 256."""
    sgd, mixed, adaptive = (_find(bench, "resnet18", m) for m in ("sgd", "m-rwp", "m-arwp"))
    wide = _find(bench, "wrn28_10", "sgd")
    terms = None
    if "ms" in sgd["ours"] and "ms" in mixed["ours"]:
        terms = round(mixed["ours"]["ms"] / sgd["ours"]["ms"], 4)
    shares = [m["ours"]["processor_share"] for m in (sgd, mixed, adaptive)
              if "processor_share" in m["ours"]]
    return [
        _goal("ResNet-18, SGD: images a second", ">= 80000",
              sgd["ours"].get("images_per_second"), lambda x: x >= 80000),
        _goal("ResNet-18, SGD: times as fast as the best of PyTorch", ">= 1.5",
              sgd.get("over_best"), lambda x: x >= 1.5),
        _goal("ResNet-18, m-ARWP: times as fast as the reference's step in PyTorch", ">= 2.5",
              adaptive.get("over_reference"), lambda x: x >= 2.5),
        _goal("WRN-28-10, SGD: images a second", ">= 12000",
              wide["ours"].get("images_per_second"), lambda x: x >= 12000),
        _goal("ResNet-18: an m-RWP update on two streams, in SGD updates", "<= 1.75", terms,
              lambda x: x <= 1.75),
        _goal("ResNet-18: share of a core that the host takes while it trains", "< 0.1",
              max(shares) if shares else None, lambda x: x < 0.1),
    ]


# --- the table ------------------------------------------------------------------------------------


def _row(m):
    ours = m["ours"]
    text = f"{m['model']:10}{m['precision']:6}{m['method']:8}"
    if "ms" not in ours:
        why = ours.get("failed") or ours.get("skipped") or "nothing was said"
        return f"{text}FAILED {why[:70]}"
    text += f"{ours['ms']:9.3f}{ours['images_per_second']:10.0f}"
    text += f"{100 * ours['roof_share']:6.0f}%" if "roof_share" in ours else "      -"
    text += f"{100 * ours['processor_share']:6.0f}%"
    if "over_best" not in m:
        return text + "      -      -"
    text += f"{m['over_best']:7.2f}"
    text += f"{m['over_reference']:7.2f}" if "over_reference" in m else "      -"
    return f"{text}  {m['best']} {m['pytorch'][m['best']]['ms']:.3f}"


def table(report):
    """Lines for people; the last of them matter most."""
    device, versions, bench = report["device"], report["versions"], report["bench"]
    lines = [f"{device['name'] or 'no GPU'}, driver {device['driver']}, CUDA {versions['cuda']}, "
             f"cuDNN {versions['cudnn']}, PyTorch {versions['pytorch']}; commit "
             f"{(report['commit'] or 'unknown')[:12]}{' (changed)' if report['changed'] else ''}; "
             f"{report['seconds']:.0f} s"]
    if device.get("known"):
        differ = ", ".join(device["known"]["differs"]) or "nothing"
        lines.append(f"device.json differs from {device['known']['file']} in {differ}")
    for case in report["cases"]:
        if not case["ok"]:
            lines.append(f"FAIL {case['group']}: {case['name']}: {case.get('message', '')[:160]}")
    for part in report["parts"]:
        if part.get("why") == "left out":
            continue
        told = f" {part['passed']} passed, {part['failed']} failed" if "passed" in part else ""
        why = f" ({part['why']})" if part.get("why") else ""
        lines.append(f"part {part['name']:12}{part['state']:8}{part['seconds']:7.1f} s{told}{why}")
    if bench["measurements"]:
        lines.append("model     in    method         ms  images/s   roof  core  x best x ref.  "
                     "best of PyTorch, ms")
        lines += [_row(m) for m in bench["measurements"]]
    if bench["not_run"]:
        lines.append("not measured: " + ", ".join(
            f"{m['model']} {m['precision']} {m['method']}" for m in bench["not_run"]))
    for goal in report["goals"]:
        met = {True: "PASS", False: "FAIL", None: "not measured"}[goal["met"]]
        got = "" if goal["got"] is None else f", got {goal['got']:g}"
        lines.append(f"goal {met}: {goal['goal']} {goal['want']}{got}")
    lines.append(f"{report['passed']} passed, {report['failed']} failed")
    return "\n".join(lines)
