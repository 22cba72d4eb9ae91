#!/usr/bin/env python3
"""Every family of models, as jobs."""

import support
from support import job

SMALL = [{"kind": "resnet50", "width": 4, "blocks": [1, 1]},
         {"kind": "resnet18", "width": 4, "blocks": [1, 1], "stem": "imagenet"},
         {"kind": "preresnet", "depth": 11, "width": 4},
         {"kind": "wrn", "depth": 10, "widen": 1, "dropout": 0.3},
         {"kind": "vit", "patch": 4, "width": 12, "depth": 1, "heads": 3, "mlp": 8},
         {"kind": "vit_s16", "patch": 8, "width": 12, "depth": 1, "heads": 2, "mlp": 8}]
SENSELESS = [({"kind": "vgg16_bn"}, "/model/kind", "32×32"),
             ({"kind": "wrn", "depth": 12}, "/model/depth", "6·n + 4"),
             ({"kind": "preresnet", "depth": 12}, "/model/depth", "9·n + 2"),
             ({"kind": "resnet101", "stem": "imagenet"}, "/model/blocks", "halve"),
             ({"kind": "wrn28_10", "dropout": 1}, "/model/dropout", ""),
             ({"kind": "wrn28_10", "depth": 28}, "/model/depth", ""),
             ({"kind": "vit", "patch": 3}, "/model/patch", "8×8"),
             ({"kind": "vit", "patch": 2, "width": 100}, "/model/heads", "100"),
             ({"kind": "vit_b16", "patch": 8, "heads": 0}, "/model/heads", ""),
             ({"kind": "vit_s32", "embedding_dropout": 0.1}, "/model/embedding_dropout", ""),
             ({"kind": "resnet50", "stem": "large"}, "/model/stem", "")]


class Models(support.Case):
    def test_each_trains(self):
        daemon = self.start()
        jobs = [daemon.submit(job("m-arwp", model=model)) for model in SMALL]
        for number, model in zip(jobs, SMALL):
            shown = daemon.wait(number)
            self.assertEqual((shown["state"], shown["updates_done"]), ("succeeded", 15), model)
            self.assertLessEqual(model.items(), shown["spec"]["model"].items())

    def test_what_makes_no_sense_is_refused(self):
        daemon = self.start()
        for model, pointer, says in SENSELESS:
            answer = daemon.post("/v1/jobs", job(model=model), 422)
            told = {e["pointer"]: e["detail"] for e in answer["errors"]}
            # The images are too small for 32×32 patches: that is told, too.
            self.assertEqual(set(told) - {"/model/patch"} | {pointer}, {pointer}, model)
            self.assertIn(says, told[pointer])

    def test_all_are_listed_with_what_they_take(self):
        daemon = self.start()
        kinds = {m["kind"]: {p["name"]: p for p in m["parameters"]}
                 for m in daemon.get("/v1/models")["models"]}
        self.assertLessEqual({"resnet18", "resnet34", "resnet50", "resnet101", "preresnet164",
                              "vgg16_bn", "vgg19_bn", "wrn16_8", "wrn28_10", "wrn22_8",
                              "wrn34_10", "vit", "vit_s32", "vit_s16", "vit_b16"},
                             kinds.keys())
        stem = kinds["resnet50"]["stem"]
        self.assertEqual((stem["default"], stem["choices"]), ("auto", ["auto", "cifar", "imagenet"]))
        self.assertEqual(kinds["vgg16_bn"]["dropout"]["default"], 0.5)
        self.assertTrue(kinds["vgg16_bn"]["dropout"]["below_max"])


if __name__ == "__main__":
    support.run_tests()
