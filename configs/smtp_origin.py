#!/usr/bin/env python3
"""A mail server for the examples: it speaks first, and answers a mail with the
SHA-256 of its text (lines end in LF).

usage: smtp_origin.py PORT
"""

import hashlib
import socketserver
import sys


class Session(socketserver.StreamRequestHandler):
    def handle(self):
        self.say("220 origin.example ESMTP")
        while line := self.rfile.readline():
            verb = line.split()[0].upper() if line.strip() else b""
            if verb == b"DATA":
                self.say("354 go ahead")
                self.say("250 2.0.0 sha256 " + self.mail())
            elif verb == b"QUIT":
                self.say("221 2.0.0 bye")
                return
            elif verb in (b"EHLO", b"HELO", b"MAIL", b"RCPT"):
                self.say("250 2.0.0 ok")
            else:
                self.say("502 5.5.1 not here")

    def mail(self):
        digest = hashlib.sha256()
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                raise ConnectionError("the mail ends early")
            digest.update(line.removeprefix(b".").replace(b"\r\n", b"\n"))
        return digest.hexdigest()

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


server = Server(("127.0.0.1", int(sys.argv[1])), Session)
print("ready", flush=True)
server.serve_forever()
