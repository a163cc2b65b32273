#!/usr/bin/env python3
"""An HTTP origin for the examples: what is PUT comes back.

usage: origin.py PORT [ADDRESS]
"""

import http.server
import shutil
import sys
import tempfile


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(b"Hello from the origin, " + self.path.encode() + b"\n")

    def do_PUT(self):
        """The whole body first, then all of it again."""
        with tempfile.TemporaryFile() as kept:
            for piece in self.body():
                kept.write(piece)
            self.send_response(200)
            self.send_header("Content-Length", str(kept.tell()))
            self.end_headers()
            kept.seek(0)
            shutil.copyfileobj(kept, self.wfile)

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            yield self.exactly(int(self.headers.get("Content-Length", 0)))
            return
        while size := int(self.rfile.readline(), 16):
            yield self.exactly(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers

    def exactly(self, size):
        piece = self.rfile.read(size)
        if len(piece) != size:
            raise ConnectionError("the request ends early")
        return piece

    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


address = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1"
server = http.server.ThreadingHTTPServer((address, int(sys.argv[1])), Origin)
print("ready", flush=True)
server.serve_forever()
