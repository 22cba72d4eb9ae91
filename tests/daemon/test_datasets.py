"""CIFAR and folders of JPEG and PNG images from the first request to the last checkpoint, on small
data in the real formats."""

import os
import unittest

import support
from support import job

SMALL = {"kind": "resnet", "width": 4, "blocks": [1, 1, 1]}
GOLDEN = os.path.join(support.ROOT, "tests", "golden", "images.txt")


def pictures():
    """The files that the engine's tests know: name → bytes."""
    with open(GOLDEN, encoding="ascii") as file:
        words = (line.split() for line in file)
        return {word[1]: bytes.fromhex(word[2]) for word in words if word[0] == "file"}


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


class Datasets(support.Case):

    def cifar_folder(self, classes=10, records=8):
        folder = os.path.join(self.folder, f"cifar{classes}")
        names = ([f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
                 if classes == 10 else ["train.bin", "test.bin"])
        for number, name in enumerate(names):
            content = b""
            for record in range(records):
                label = (record + number) % classes
                content += bytes([label] if classes == 10 else [label % 20, label])
                content += bytes((pixel * 7 + label * 23 + record) % 256 for pixel in range(3072))
            write(os.path.join(folder, name), content)
        return folder

    def image_folder(self, broken=()):
        folder = os.path.join(self.folder, "images")
        files = [(name, content) for name, content in pictures().items()]
        for split, each in (("train", 9), ("val", 4)):
            for label in ("ant", "bee", "cat"):
                for number in range(each):
                    name, content = files[(number * 3 + len(label) + ord(label[0])) % len(files)]
                    write(os.path.join(folder, split, label, f"{number}-{name}"), content)
        for name in broken:
            write(os.path.join(folder, name), b"\xff\xd8\xff and no more")
        return folder

    def image_job(self, **changes):
        dataset = {"kind": "image_folder", "path": self.image_folder(), "size": 16, "resize": 20,
                   **changes.pop("dataset", {})}
        return job(model=SMALL, dataset=dataset, batch_size=6, **changes)

    def image_daemon(self):
        daemon = self.start()
        answer = daemon.request("POST", "/v1/jobs", self.image_job(epochs=1))
        if answer.status == 422 and "libjpeg" in answer.body.decode():
            self.skipTest("built without libjpeg-turbo and libpng")
        self.assertEqual(answer.status, 201, answer)
        daemon.wait(answer.json()["id"])
        return daemon

    def test_cifar_from_its_files_to_a_checkpoint(self):
        daemon = self.start()
        for classes, kind, samples in ((10, "cifar10", 40), (100, "cifar100", 8)):
            number = daemon.submit(job("m-rwp", model=SMALL, batch_size=4, dataset={
                "kind": kind, "path": self.cifar_folder(classes), "label_noise": 0.25,
                "train_limit": samples - 4}))
            shown = daemon.wait(number)
            facts = shown["facts"]
            self.assertEqual((facts["train_samples"], facts["test_samples"], facts["classes"]),
                             (samples - 4, 8, classes))
            self.assertEqual(len(daemon.losses(number)), 3 * (samples - 4) // 4)
            self.assertEqual(shown["spec"]["dataset"]["augment"], {
                "flip": True, "crop_padding": 4, "randaugment": 0, "randaugment_magnitude": 9,
                "cutout": 16, "cutout_probability": 0.5})
            self.assertTrue(daemon.checkpoint(number))

    def test_a_sweep_may_switch_off_what_is_set_for_the_others(self):
        daemon = self.start()
        augment = {"cutout": 0, "cutout_probability": 1}
        one = job(model=SMALL, epochs=1, dataset={
            "kind": "cifar10", "path": self.cifar_folder(), "augment": augment})
        pointer = "/dataset/augment/cutout_probability"
        answer = daemon.post("/v1/jobs", one, 422)
        self.assertEqual([error["pointer"] for error in answer["errors"]], [pointer])
        answer = daemon.post("/v1/sweeps", {"job": one, "grid": {"/seed": [1, 2]}}, 422)
        self.assertEqual([error["pointer"] for error in answer["errors"]], ["/job" + pointer])
        self.assertIn("says nothing", answer["errors"][0]["detail"])
        answer = daemon.post("/v1/sweeps", {"job": one, "grid": {pointer: [0.5, 1]}}, 422)
        self.assertEqual([error["pointer"] for error in answer["errors"]],
                         ["/grid/" + pointer.replace("/", "~1") + "/1"])
        sweep = daemon.post("/v1/sweeps", {"job": one, "grid": {"/dataset/augment/cutout": [0, 8]}}, 201)
        self.assertEqual(sweep["points"], 2)

    def test_augmentation_changes_what_is_learnt_from(self):
        daemon = self.start()
        plain = {"flip": False, "crop_padding": 0, "cutout": 0}
        folder = self.cifar_folder()
        losses = []
        for augment in (plain, {}, {**plain, "randaugment": 2}, plain):
            number = daemon.submit(job(model=SMALL, epochs=2, dataset={
                "kind": "cifar10", "path": folder, "augment": augment}))
            daemon.wait(number)
            losses.append([loss["loss"] for loss in daemon.losses(number)])
        self.assertEqual(losses[0], losses[3])
        for one, other in ((0, 1), (0, 2), (1, 2)):
            self.assertNotEqual(losses[one], losses[other])

    def test_a_folder_of_images_from_its_files_to_a_checkpoint(self):
        daemon = self.image_daemon()
        number = daemon.submit(self.image_job(epochs=2, method="m-arwp"))
        shown = daemon.wait(number)
        facts = shown["facts"]
        self.assertEqual((facts["train_samples"], facts["test_samples"], facts["classes"]),
                         (27, 12, 3))
        self.assertEqual(shown["updates"], 2 * 5)
        self.assertEqual(len(daemon.epochs(number)), 2)
        self.assertTrue(daemon.checkpoint(number))

    def test_broken_images_are_named_and_end_nothing(self):
        daemon = self.image_daemon()
        broken = ("train/bee/torn.jpg", "val/cat/torn.png")
        self.image_folder(broken)
        number = daemon.submit(self.image_job(epochs=1))
        daemon.wait(number)
        texts = [str(event["data"]) for event in support.Events(
            daemon, f"/v1/jobs/{number}/events", last_id=0) if event["event"] == "message"]
        for name in broken:
            self.assertEqual(sum(name in text for text in texts), 1, texts)
        listed = daemon.get(f"/v1/jobs/{number}/messages")["messages"]
        self.assertEqual([str({"job": number, **message}) for message in listed], texts[::-1])
        daemon.get(f"/v1/jobs/{number + 1}/messages", 404)

    def test_a_files_name_is_no_line_of_the_log(self):
        daemon = self.image_daemon()
        self.image_folder(["train/bee/a\n2026-01-01T00:00:00.000Z error: it burns\x1b[2J.jpg"])
        daemon.wait(daemon.submit(self.image_job(epochs=1)))
        self.assertIn("it burns", daemon.log())
        self.assertNotIn("\n2026-01-01", daemon.log())
        self.assertNotIn("\x1b", daemon.log())

    def test_an_interrupted_run_ends_with_the_same_bits(self):
        daemon = self.image_daemon()
        spec = self.image_job(method="m-rwp", epochs=6,
                              dataset={"augment": {"randaugment": 1, "cutout": 5}})
        straight = daemon.submit(spec)
        daemon.wait(straight)
        bumpy = daemon.submit(spec)
        for updates in (1, 8, 17):
            daemon.wait_until(bumpy, lambda shown: shown["state"] == "succeeded" or
                              shown["updates_done"] >= updates, "to come so far", 120)
            if daemon.request("POST", f"/v1/jobs/{bumpy}/pause").status == 200:
                daemon.wait(bumpy, "paused", "succeeded")
                daemon.request("POST", f"/v1/jobs/{bumpy}/resume")
        daemon.wait(bumpy)
        self.assertEqual(support.read_safetensors(daemon.checkpoint(straight)),
                         support.read_safetensors(daemon.checkpoint(bumpy)))
        endless = daemon.submit({**spec, "epochs": 100000})
        daemon.wait_update(endless, 3)
        daemon.post(f"/v1/jobs/{endless}/cancel")
        daemon.wait(endless, "cancelled")

    def test_a_folder_that_goes_away_during_a_run_pauses_it(self):
        daemon = self.image_daemon()
        number = daemon.submit(self.image_job(epochs=100000))
        daemon.wait_update(number, 3)
        folder = os.path.join(self.folder, "images")
        os.rename(folder, folder + " away")
        self.assertIn("image", daemon.wait(number, "paused")["reason"])
        os.rename(folder + " away", folder)
        reached = daemon.job(number)["updates_done"]
        daemon.post(f"/v1/jobs/{number}/resume")
        daemon.wait_update(number, reached + 3)
        daemon.post(f"/v1/jobs/{number}/cancel")
        daemon.wait(number, "cancelled")

    def test_a_class_that_goes_away_pauses_and_leaves_no_trace(self):
        daemon = self.image_daemon()
        spec = self.image_job(epochs=150, dataset={"augment": {"randaugment": 1}})
        straight = daemon.submit(spec)
        daemon.wait(straight)
        for away in ("train/bee", "val/cat"):
            number = daemon.submit(spec)
            daemon.wait_update(number, 8)
            folder = os.path.join(self.folder, "images", away)
            os.rename(folder, folder + " away")
            reason = daemon.wait(number, "paused")["reason"]
            os.rename(folder + " away", folder)
            self.assertIn(f"/{away}/", reason)
            self.assertIn("No such file", reason)
            daemon.post(f"/v1/jobs/{number}/resume")
            daemon.wait(number)
            self.assertEqual(support.read_safetensors(daemon.checkpoint(straight)),
                             support.read_safetensors(daemon.checkpoint(number)))
            self.assertEqual([row["loss"] for row in daemon.losses(straight)],
                             [row["loss"] for row in daemon.losses(number)])

    def paused(self, daemon, spec):
        number = daemon.submit(spec)
        daemon.wait_update(number, 3)
        daemon.post(f"/v1/jobs/{number}/pause")
        daemon.wait(number, "paused")
        return number

    def assert_refused_until_back(self, daemon, number, change, undo, says):
        change()
        daemon.post(f"/v1/jobs/{number}/resume")
        shown = daemon.wait_until(number, lambda shown: shown["state"] == "paused" and
                                  shown["reason"], "to be paused again", 60)
        undo()
        self.assertIn("the dataset has changed since the job began", shown["reason"])
        self.assertIn(says, shown["reason"])
        reached = shown["updates_done"]
        daemon.post(f"/v1/jobs/{number}/resume")
        daemon.wait_update(number, reached + 3)
        daemon.post(f"/v1/jobs/{number}/cancel")
        daemon.wait(number, "cancelled")

    def test_a_job_does_not_go_on_with_other_images(self):
        daemon = self.image_daemon()
        images = os.path.join(self.folder, "images")
        ants = os.path.join(images, "train", "ant")
        one = os.path.join(ants, sorted(os.listdir(ants))[0])
        aside = os.path.join(self.folder, "aside")

        def swap():
            names = [os.path.join(images, "train", name) for name in ("ant", "bee")]
            os.rename(names[0], aside)
            os.rename(names[1], names[0])
            os.rename(aside, names[1])

        spec = self.image_job(epochs=100000)
        # 26 and 27 images make five batches of 6 alike.
        self.assert_refused_until_back(
            daemon, self.paused(daemon, spec), lambda: os.rename(one, aside),
            lambda: os.rename(aside, one), "it has 26 training samples, not 27")
        self.assert_refused_until_back(
            daemon, self.paused(daemon, spec), swap, swap, "its content (training files")

    def test_a_job_does_not_go_on_with_other_labels(self):
        daemon = self.start()
        path = os.path.join(self.cifar_folder(), "data_batch_2.bin")

        def shift(by):
            with open(path, "rb") as file:
                content = bytearray(file.read())
            for record in range(0, len(content), 3073):
                content[record] = (content[record] + by) % 10
            write(path, content)

        number = self.paused(daemon, job(model=SMALL, batch_size=4, epochs=100000, dataset={
            "kind": "cifar10", "path": os.path.dirname(path)}))
        self.assert_refused_until_back(daemon, number, lambda: shift(1), lambda: shift(9),
                                       "its content (training samples or labels)")

    def test_what_is_wrong_with_the_data_is_named(self):
        daemon = self.image_daemon()
        before = len(daemon.jobs())
        cifar = self.cifar_folder()
        os.truncate(os.path.join(cifar, "data_batch_4.bin"), 8 * 3073 - 1)
        images = self.image_folder()
        os.makedirs(os.path.join(images, "train", "empty"))
        wrong = [
            ({"kind": "cifar10", "path": cifar}, "/dataset/path", "data_batch_4.bin"),
            ({"kind": "cifar100", "path": cifar}, "/dataset/path", "not CIFAR-100"),
            ({"kind": "image_folder", "path": images}, "/dataset/path", "train/empty"),
            ({"kind": "image_folder", "path": cifar}, "/dataset/path", "/train"),
            ({"kind": "image_folder", "path": "/dev/zero"}, "/dataset/path", "not a folder"),
            ({"kind": "image_folder", "path": "images"}, "/dataset/path", "absolute"),
            ({"kind": "image_folder"}, "/dataset/path", "missing"),
            ({"kind": "cifar10", "path": cifar, "augment": {"flip": 1}}, "/dataset/augment/flip",
             "true or false"),
            ({"kind": "cifar10", "path": cifar, "augment": {"crop": "random"}},
             "/dataset/augment/crop", "unknown"),
            ({"kind": "image_folder", "path": images, "augment": {"crop": "left"}},
             "/dataset/augment/crop", "random_resized"),
        ]
        for dataset, pointer, says in wrong:
            answer = daemon.post("/v1/jobs", job(model=SMALL, dataset=dataset), 422)
            told = {error["pointer"]: error["detail"] for error in answer["errors"]}
            # Beside another mistake the truncated folder is told, too.
            self.assertEqual(set(told) - {"/dataset/path"} | {pointer}, {pointer}, answer)
            self.assertIn(says, told[pointer])
        self.assertEqual(len(daemon.jobs()), before)

    def test_what_can_be_asked_for(self):
        shown = self.start().get("/v1/datasets")["datasets"]
        self.assertEqual([kind["kind"] for kind in shown],
                         ["digits", "idx", "cifar10", "cifar100", "image_folder"])


if __name__ == "__main__":
    unittest.main()
