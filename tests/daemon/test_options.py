#!/usr/bin/env python3
"""Command line and environment: what is refused, and how it is said."""

import os
import socket
import subprocess

import support


class Options(support.Case):
    def wrong(self, *options, says, environment=None):
        code, text, _ = self.refuse("--check-config", "--state", self.folder, *options,
                                    environment=environment)
        self.assertEqual(code, 2, text)
        self.assertEqual(text.count("\n"), 1, text)
        for word in says:
            self.assertIn(word, text)

    def right(self, *options, environment=None):
        code, text, out = self.refuse("--check-config", *options, environment=environment)
        self.assertEqual((code, text), (0, ""))
        return dict(line.split(None, 1) if "limit" not in line else
                    (line[:12].strip(), line[13:].strip()) for line in out.splitlines())

    def test_wrong_values_name_the_option_and_what_would_be_right(self):
        for value in ("8470", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
                      "example.org:80", "::1:80", "[::1]", "[127.0.0.1]:80", "1.2.3.4.5:6", ":80",
                      "127.0.0.1:80x", "[::1" + "0" * 100 + "]:1"):
            self.wrong("--listen", value, says=["--listen", "127.0.0.1:8470"])
        for option, high in (("--workers", "64"), ("--threads", "1024"), ("--connections", "100000"),
                             ("--queue-limit", "100000000"), ("--body-limit", "1073741824")):
            for value in ("0", "-1", "", "two", "1.5", "3x", "99999999999999999999"):
                self.wrong(f"{option}={value}", says=[option, "from", high])
        self.wrong("--log-level", "loud", says=["--log-level", "debug"])
        self.wrong("--workers", says=["--workers", "value"])
        self.wrong("--colour", says=["--colour", "no such option"])
        self.wrong("train", says=["'train'", "rwpd: takes no arguments"])
        self.wrong("--state", "", says=["--state"])
        self.wrong("--state", "/" + "x" * 5000, says=["--state"])

    def test_wrong_variables_are_named(self):
        poor, file = os.path.join(self.folder, "token"), os.path.join(self.folder, "file")
        with open(os.open(poor, os.O_CREAT | os.O_WRONLY, 0o600), "w") as out:
            out.write("short")
        open(file, "w").close()
        for name, value in (("RWPD_LISTEN", "nowhere"), ("RWPD_LISTEN", "0.0.0.0:0"),
                            ("RWPD_TOKEN_FILE", self.folder + "/none"), ("RWPD_TOKEN_FILE", poor),
                            ("CREDENTIALS_DIRECTORY", self.folder)):
            self.wrong(says=[f"rwpd: {name}: "], environment={name: value})
        for name in ("RWPD_STATE", "STATE_DIRECTORY"):
            code, text, _ = self.refuse("--check-config", environment={name: file})
            self.assertEqual((code, text), (2, f"rwpd: {name}: {file} is not a folder\n"))

    def test_a_state_that_cannot_be_is_refused(self):
        file = os.path.join(self.folder, "file")
        open(file, "w").close()
        self.wrong("--state", file, says=["--state", "not a folder"])
        self.wrong("--state", file + "/below", says=["--state"])

    def test_defaults_and_where_they_come_from(self):
        clean = {"HOME": "/home/nobody", "XDG_STATE_HOME": "", "STATE_DIRECTORY": ""}
        shown = self.right(environment=clean)
        self.assertEqual(shown["listen"], "127.0.0.1:8470")
        self.assertEqual(shown["workers"], "1")
        # A quota of processor time may leave fewer.
        self.assertIn(int(shown["threads"]), range(1, len(os.sched_getaffinity(0)) + 1))
        self.assertEqual(shown["queue limit"], "1000")
        self.assertEqual(shown["token"], "none")
        if os.geteuid() == 0:
            self.assertEqual(shown["state"], "/var/lib/rwpd")
        service = {**clean, "STATE_DIRECTORY": f"{self.folder}/a:{self.folder}/b"}
        self.assertEqual(self.right(environment=service)["state"], f"{self.folder}/a")
        given = {**service, "RWPD_STATE": f"{self.folder}/c", "RWPD_LISTEN": "[::1]:1"}
        self.assertEqual(self.right(environment=given)["state"], f"{self.folder}/c")
        self.assertEqual(self.right(environment=given)["listen"], "[::1]:1")
        self.assertEqual(self.right("--state", f"{self.folder}/d", "--listen", "localhost:2",
                                    environment=given)["listen"], "127.0.0.1:2")

    def test_an_address_that_others_reach_needs_a_token(self):
        for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:80", "[::ffff:127.0.0.1]:80"):
            self.wrong("--listen", address, says=["--listen", "token", "--token-file"])
        self.right("--state", self.folder, "--listen", "127.1.2.3:0")
        secret = os.path.join(self.folder, "token")
        with open(os.open(secret, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write("0123456789abcdef\n")
        shown = self.right("--state", self.folder, "--listen", "0.0.0.0:0", "--token-file", secret)
        self.assertEqual(shown["token"], secret)
        credentials = {"CREDENTIALS_DIRECTORY": self.folder}
        shown = self.right("--state", self.folder, "--listen", "0.0.0.0:0", environment=credentials)
        self.assertEqual(shown["token"], secret)

    def test_a_poor_token_is_refused(self):
        secret = os.path.join(self.folder, "token")
        for text in ("", "short", "x" * 513, "with a blank inside it", "two lines of it\nof it all",
                     "umlauts-are-out-ä", "0123456789abcdef\r\n"):
            with open(os.open(secret, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
                file.write(text)
            self.wrong("--token-file", secret, says=["--token-file", secret])
        self.wrong("--token-file", self.folder, says=["--token-file"])

    def test_a_token_that_others_may_read_is_warned_of(self):
        secret = os.path.join(self.folder, "token")
        with open(os.open(secret, os.O_CREAT | os.O_WRONLY, 0o644), "w") as file:
            file.write("0123456789abcdef")
        code, text, _ = self.refuse("--check-config", "--state", self.folder, "--token-file", secret)
        self.assertEqual(code, 0)
        self.assertIn("chmod 600", text)

    def test_help_and_version(self):
        code, text, out = self.refuse("--help")
        self.assertEqual((code, text), (0, ""))
        for word in ("--listen", "--check-config", "RWPD_STATE", "RWPD_CUDA_MODULE", "RWPD_CUDA_CACHE",
                     "RWPD_NCCL", "SIGTERM", "Exit codes"):
            self.assertIn(word, out)
        self.assertLessEqual(max(map(len, out.splitlines())), 100)
        code, text, out = self.refuse("--version")
        self.assertEqual((code, text), (0, ""))
        self.assertRegex(out, r"^rwpd \d+\.\d+\.\d+\n$")
        with open("/dev/full", "w") as full:
            self.assertEqual(subprocess.run([support.BINARY, "--help"], stdout=full).returncode, 1)

    def test_an_address_in_use_is_its_own_exit_code(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            code, text, _ = self.refuse("--state", self.folder, "--listen", address)
        self.assertEqual(code, 3, text)
        self.assertIn(address.split(":")[1], text)
        self.assertFalse(os.path.exists(self.folder + "/listen"))

    def test_two_daemons_do_not_share_a_folder(self):
        first = self.start()
        code, text, _ = self.refuse("--state", first.state, "--listen", "127.0.0.1:0")
        self.assertEqual(code, 5, text)
        self.assertIn(first.state, text)
        self.assertEqual(first.get("/livez"), first.get("/livez"))
        self.assertTrue(os.path.exists(first.state + "/listen"))


if __name__ == "__main__":
    support.run_tests()
