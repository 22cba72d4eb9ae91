#!/usr/bin/env python3
"""Who may ask: the bearer token."""

import http.client
import os

import support

TOKEN = "correct-horse-battery-staple"


class Access(support.Case):
    def start_with_token(self, *options):
        path = os.path.join(self.folder, "token")
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(TOKEN + "\n")
        return self.start("--token-file", path, *options)

    def test_without_the_token_nothing_but_livez(self):
        daemon = self.start_with_token()
        daemon.expect(200, "GET", "/livez")
        for path in ("/v1/jobs", "/v1/events", "/readyz", "/metrics", "/openapi.json", "/v1/none",
                     "/v1/jobs/1/losses"):
            answer = daemon.expect(401, "GET", path)
            self.assertIn("Bearer", answer.headers["WWW-Authenticate"])
            self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
        daemon.expect(401, "POST", "/v1/jobs", body=support.job())

    def test_a_wrong_token_is_no_token(self):
        daemon = self.start_with_token()
        for given in ("Bearer wrong", "Bearer " + TOKEN[:-1], "Bearer " + TOKEN + "x", "Bearer",
                      "Basic " + TOKEN, TOKEN, "Bearer " + TOKEN.upper()):
            daemon.expect(401, "GET", "/v1/jobs", headers={"Authorization": given})

    def test_with_the_token_all_is_open(self):
        daemon = self.start_with_token()
        daemon.token = TOKEN
        number = daemon.submit(support.job())
        daemon.wait(number)
        daemon.get("/readyz")
        events = list(support.Events(daemon, f"/v1/jobs/{number}/events"))
        self.assertTrue(events)

    def test_with_a_token_it_listens_on_other_addresses(self):
        daemon = self.start_with_token("--listen", "0.0.0.0:0")
        self.assertEqual(daemon.host, "0.0.0.0")
        daemon.token = TOKEN
        daemon.host = "127.0.0.1"
        daemon.get("/v1/jobs")

    def test_the_token_is_nowhere_to_be_read(self):
        daemon = self.start_with_token("--log-level", "debug")
        daemon.token = TOKEN
        daemon.get("/v1/jobs")
        self.assertNotIn(TOKEN, daemon.log())
        with open(f"/proc/{daemon.process.pid}/cmdline", "rb") as file:
            self.assertNotIn(TOKEN.encode(), file.read())

    def test_another_hosts_name_is_refused_without_a_token(self):
        daemon = self.start()
        connection = http.client.HTTPConnection(daemon.host, daemon.port, timeout=60)
        connection.request("GET", "/v1/jobs", headers={"Host": "evil.example"})
        self.assertEqual(connection.getresponse().status, 421)
        connection.close()


if __name__ == "__main__":
    support.run_tests()
