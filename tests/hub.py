"""A Hub of one's own on loopback: the few endpoints that pushing and pulling a model need, kept in memory."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit


class Repositories:
    """What was pushed: repository → file → bytes; large files by their SHA-256 until a commit names them."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.url = ""

    def sha(self, name: str) -> str:
        return hashlib.sha1(repr(sorted(self.files[name].items())).encode()).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """Requests of `huggingface_hub`, answered."""

    protocol_version = "HTTP/1.1"
    store: Repositories

    def log_message(self, *_: Any) -> None:
        return

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            pieces = []
            while size := int(self.rfile.readline().strip() or b"0", 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def say(self, found: Any, code: int = 200, **headers: str) -> None:
        data = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def path_of(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.store.asked.append(f"{self.command} {path}")
        return path

    def lost(self, code: str) -> None:
        self.say({"error": code}, 404, X_Error_Code=code, X_Error_Message=code)

    def do_POST(self) -> None:
        path, body = self.path_of(), self.body()
        if path == "/api/repos/create":
            said = json.loads(body)
            name = "/".join(filter(None, (said.get("organization"), said["name"])))
            self.store.files.setdefault(name, {})
            self.say({"url": f"{self.store.url}/{name}", "name": name})
        elif match := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
            files = json.loads(body)["files"]
            self.say(
                {
                    "files": [
                        {"path": one["path"], "uploadMode": self.mode(one["path"]), "shouldIgnore": False}
                        for one in files
                    ]
                }
            )
        elif match := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            wanted = json.loads(body)["objects"]
            actions = [
                {**one, "actions": {"upload": {"href": f"{self.store.url}/lfs/{one['oid']}"}}}
                for one in wanted
            ]
            self.say({"transfer": "basic", "objects": actions})
        elif match := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            self.commit(match[1], body)
        else:
            self.say({}, 200)

    @staticmethod
    def mode(path: str) -> str:
        return "lfs" if path.endswith(".safetensors") else "regular"

    def commit(self, name: str, body: bytes) -> None:
        for line in body.splitlines():
            said = json.loads(line)
            value = said["value"]
            if said["key"] == "file":
                self.store.files[name][value["path"]] = base64.b64decode(value["content"])
            elif said["key"] == "lfsFile":
                self.store.files[name][value["path"]] = self.store.large[value["oid"]]
        sha = self.store.sha(name)
        self.say({"commitUrl": f"{self.store.url}/{name}/commit/{sha}", "commitOid": sha, "success": True})

    def do_PUT(self) -> None:
        oid, data = self.path_of().rpartition("/")[2], self.body()
        assert hashlib.sha256(data).hexdigest() == oid
        self.store.large[oid] = data
        self.say(b"")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path_of()
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/[^/]+)?", path):
            if match[1] not in self.store.files:
                return self.lost("RepoNotFound")
            siblings = [{"rfilename": name} for name in self.store.files[match[1]]]
            return self.say({"id": match[1], "sha": self.store.sha(match[1]), "siblings": siblings})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", path):
            files = self.store.files[match[1]]
            return self.say(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in files.items()
                ]
            )
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            data = self.store.files.get(match[1], {}).get(match[2])
            if data is None:
                return self.lost("EntryNotFound")
            etag = f'"{hashlib.sha256(data).hexdigest()}"'
            return self.say(data, ETag=etag, X_Repo_Commit=self.store.sha(match[1]))
        return self.lost("RepoNotFound")


@contextmanager
def serving() -> Iterator[Repositories]:
    """A Hub at `.url` for as long as the block lasts."""
    store = Repositories()
    handler = type("Mine", (Hub,), {"store": store})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    store.url = f"http://127.0.0.1:{server.server_address[1]}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
