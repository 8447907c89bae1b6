"""A local web server that knows ranges, and counts what goes out; the same as a bucket of S3."""

import time
from email.utils import formatdate
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any


class Ranges(BaseHTTPRequestHandler):
    """Files of a folder, in whole or in ranges, with a count of the bytes that went out."""

    root: Path
    sent: int = 0
    asked: int = 0
    now: int = 0
    most: int = 0
    slow: float = 0.0

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = type(self).root / self.path.lstrip("/")
        if refusal := self.refusal():
            self.send_error(refusal)
            return
        if not path.is_file():
            self.send_error(404)
            return
        content, given = path.read_bytes(), self.headers.get("Range", "")
        first, last = 0, len(content) - 1
        if given:
            start, _, end = given.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or last), last)
        part = content[first : last + 1]
        self.send_response(206 if given else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        if given:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.describe(content)
        self.end_headers()
        if body:
            type(self).now += 1
            type(self).most = max(type(self).most, type(self).now)
            time.sleep(type(self).slow)
            type(self).now -= 1
            type(self).asked += 1
            type(self).sent += len(part)
            self.wfile.write(part)

    def refusal(self) -> int | None:
        """The status that a request without a right to the file gets."""
        return None

    def describe(self, content: bytes) -> None:
        """Headers that say more of a file."""

    def log_message(self, *_: Any) -> None:
        """Tests need no log."""


class Objects(Ranges):
    """The part of S3 that reading asks for, path-style: signed HeadObject and GetObject with ranges.

    A request that `key` did not sign is refused, as is one that is no object's; the signature's arithmetic is not checked.
    """

    key: str = "anyone"

    def refusal(self) -> int | None:
        said = self.headers.get("Authorization", "")
        return None if said.startswith(f"AWS4-HMAC-SHA256 Credential={self.key}/") else 403

    def describe(self, content: bytes) -> None:
        self.send_header("ETag", f'"{md5(content).hexdigest()}"')
        self.send_header("Last-Modified", formatdate(0, usegmt=True))


def serve(root: Path, speaks: type[Ranges] = Ranges) -> tuple[ThreadingHTTPServer, type[Ranges]]:
    """A server of a folder that runs until it is shut down, and its counters."""
    handler = type("Served", (speaks,), {"root": root})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server, handler
