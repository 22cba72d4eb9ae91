#!/usr/bin/env python3
"""Clients that mean ill or are broken, while a job trains: it goes on, and others are answered."""

import os
import socket
import threading
import time

import support
from support import long_job


class Hostile(support.Case):
    def setUp(self):
        super().setUp()
        self.daemon = self.start("--connections", "64")
        self.number = self.daemon.submit(long_job())
        self.before = self.daemon.wait_update(self.number, 5)["updates_done"]

    def tearDown(self):
        daemon = self.daemon
        self.assertIsNone(daemon.process.poll(), daemon.log()[-3000:])
        daemon.wait_update(self.number, self.before + 5)
        daemon.post(f"/v1/jobs/{self.number}/cancel")
        daemon.wait(self.number, "cancelled")
        super().tearDown()

    def connect(self, source="127.0.0.1", timeout=30):
        return socket.create_connection((self.daemon.host, self.daemon.port), timeout=timeout,
                                        source_address=(source, 0))

    def talk(self, text, seconds=1):
        """What comes back in that time: nothing, where it still waits for the rest."""
        with self.connect(timeout=seconds * support.SLOW) as client:
            try:
                client.sendall(text)
                client.shutdown(socket.SHUT_WR)
                return client.recv(65536)
            except OSError:
                return b""

    def test_more_connections_than_there_may_be(self):
        held = []
        try:
            for place in range(300):
                try:
                    held.append(self.connect(f"127.0.0.{2 + place % 5}", timeout=0.5))
                except OSError:
                    break
            time.sleep(0.2)
        finally:
            for client in held:
                client.close()
        end = time.monotonic() + 30 * support.SLOW
        while True:
            try:
                self.daemon.get("/livez")
                break
            except support.Failure:
                self.assertLess(time.monotonic(), end)

    def test_slow_senders_do_not_hold_up_others(self):
        slow = [self.connect() for _ in range(20)]
        for client in slow:
            client.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
                           b"Content-Type: application/json\r\n\r\n{")
        for _ in range(20):
            start = time.monotonic()
            self.daemon.job(self.number)
            # Each of them may take minutes.
            self.assertLess(time.monotonic() - start, 20 * support.SLOW)
            for client in slow:
                client.sendall(b" ")
        for client in slow:
            client.close()

    def test_readers_that_do_not_read(self):
        for path in (f"/v1/jobs/{self.number}/events", "/v1/events", f"/v1/jobs/{self.number}/losses"):
            for _ in range(5):
                client = self.connect()
                self.addCleanup(client.close)
                client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 0\r\n\r\n"
                               .encode())
        for _ in range(20):
            time.sleep(0.05)
            self.daemon.job(self.number)

    def test_bodies_that_are_too_large(self):
        answer = self.daemon.request("POST", "/v1/jobs", b" " * (1 << 20) + b"{}")
        self.assertEqual(answer.status, 413)
        head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        self.assertIn(b" 413 ", self.talk(head + b"Content-Length: 99999999999\r\n\r\n{}", 60)[:40])
        self.talk(head + b"Content-Length: -1\r\n\r\n{}")
        self.talk(head + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n" + b"x" * 100000)
        deep = b'{"model":' * 5000 + b"1" + b"}" * 5000
        self.assertIn(self.daemon.request("POST", "/v1/jobs", deep).status, (400, 422))

    def test_what_is_no_http(self):
        for text in (b"", b"\0" * 1000, b"GET", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 1000,
                     b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
                     b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10000 + b"\r\n",
                     b"\x16\x03\x01\x02\x00\x01\x00" + os.urandom(300),
                     b"GET /v1/jobs/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
                     b"GET /%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
                     b"GET /v1/jobs/99999999999999999999 HTTP/1.1\r\nHost: localhost\r\n\r\n",
                     b"GET /v1/jobs/-1/losses?after=-1&limit=x HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            self.talk(text)
            self.daemon.get("/livez")

    def test_connections_that_break_off(self):
        def break_off():
            for place in range(30):
                client = self.connect()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.sendall(b"GET /v1/jobs/%d/losses HTTP/1.1\r\nHost: localhost\r\n\r\n"
                               % self.number)
                if place % 2:
                    client.recv(10)
                client.close()

        threads = [threading.Thread(target=break_off) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    support.run_tests()
