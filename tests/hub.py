"""A stand-in for the Hugging Face Hub on this machine, for its real client.

It keeps branches of commits of files, takes small files in a commit and large ones through LFS, and
serves them. It checks nothing but the token, and forgets all when it stops.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_nobody"


@dataclass
class Hub:
    """What the server knows."""

    url: str = ""
    large: dict[str, bytes] = field(default_factory=dict)
    """Content by its SHA-256."""
    repositories: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Commits of each branch of each repository, the newest last."""
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Files by name."""
    private: set[str] = field(default_factory=set)

    def commit(self, name: str, branch: str, files: dict[str, bytes]) -> str:
        """A new commit on a branch; its hash."""
        commits = self.repositories[name].setdefault(branch, [])
        whole = {**(self.commits[commits[-1]] if commits else {}), **files}
        what = json.dumps([name, branch, len(self.commits)]).encode()
        oid = hashlib.sha1(what).hexdigest()
        self.commits[oid] = whole
        commits.append(oid)
        return oid

    def find(self, name: str, revision: str) -> str | None:
        """The commit that a branch or a whole hash names; the Hub takes no shortened one."""
        branches = self.repositories.get(name, {})
        if revision in branches:
            return branches[revision][-1]
        known = [oid for commits in branches.values() for oid in commits]
        return next((oid for oid in known if oid == revision), None)


def _entry(path: str, content: bytes) -> dict[str, Any]:
    """A file as the Hub lists it."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return {"type": "file", "path": path, "size": len(content), "oid": blob}


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def _answer(self, content: Any, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_GET(self) -> None:
        """What a repository holds, and its files."""
        path = unquote(urlsplit(self.path).path)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path):
            name, revision = found.groups()
            if (oid := self.hub.find(name, revision)) is None:
                code = "RevisionNotFound" if name in self.hub.repositories else "RepoNotFound"
                return self._answer({"error": "not found"}, 404, X_Error_Code=code)
            files = [{"rfilename": file} for file in sorted(self.hub.commits[oid])]
            return self._answer({"id": name, "sha": oid, "siblings": files})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/(.+)", path):
            oid = self.hub.find(*found.groups())
            files = self.hub.commits[oid] if oid is not None else {}
            return self._answer([_entry(file, content) for file, content in files.items()])
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            name, revision, file = found.groups()
            oid = self.hub.find(name, revision)
            if oid is None or file not in self.hub.commits[oid]:
                return self._answer({"error": "no entry"}, 404, X_Error_Code="EntryNotFound")
            content = self.hub.commits[oid][file]
            tag = hashlib.sha256(content).hexdigest()
            return self._answer(content, ETag=f'"{tag}"', X_Repo_Commit=oid)
        return self._answer({"error": path}, 404)

    do_HEAD = do_GET  # noqa: N815 (the name that the base class looks for)

    def do_PUT(self) -> None:
        """The content of a large file."""
        content = self._body()
        assert hashlib.sha256(content).hexdigest() == self.path.rpartition("/")[2]
        self.hub.large[hashlib.sha256(content).hexdigest()] = content
        self._answer(b"")

    def do_POST(self) -> None:
        """Repositories, branches, large files and commits."""
        path, body = unquote(urlsplit(self.path).path), self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer({"error": "who are you?"}, 401)
        if path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            if name in self.hub.repositories:
                return self._answer({"error": "exists", "url": f"{self.hub.url}/{name}"}, 409)
            self.hub.repositories[name] = {}
            self.hub.commit(name, "main", {})
            if asked.get("private") or asked.get("visibility") == "private":
                self.hub.private.add(name)
            return self._answer({"url": f"{self.hub.url}/{name}", "name": name, "id": name})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/branch/(.+)", path):
            name, branch = found.groups()
            branches = self.hub.repositories[name]
            if branch in branches:
                return self._answer({"error": "exists"}, 409)
            branches[branch] = branches["main"][:]
            return self._answer({})
        if re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/(.+)", path):
            large = (".safetensors",)
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(large) else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            return self._answer({"files": modes})
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {
                    **asked,
                    "actions": {"upload": {"href": f"{self.hub.url}/large/{asked['oid']}"}},
                }
                for asked in json.loads(body)["objects"]
            ]
            return self._answer({"transfer": "basic", "objects": objects})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/(.+)", path):
            name, branch = found.groups()
            files = {}
            for line in body.splitlines():
                entry = json.loads(line)
                value = entry["value"]
                if entry["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif entry["key"] == "lfsFile":
                    files[value["path"]] = self.hub.large[value["oid"]]
            oid = self.hub.commit(name, branch, files)
            url = f"{self.hub.url}/{name}/commit/{oid}"
            return self._answer({"commitOid": oid, "commitUrl": url, "success": True})
        return self._answer({"error": path}, 404)


@contextmanager
def serve() -> Iterator[Hub]:
    """A Hub at `url`, on the loopback address, until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
