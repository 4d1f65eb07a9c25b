"""A stand-in for the Hugging Face hub on the loopback interface, with enough of its API for downloads by its client."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CHUNK = 1 << 14


class HubServer(ThreadingHTTPServer):
    """Serves repositories from folders; `cut_after` and `stall_after` count bytes of one answer's body.

    `weight_ranges` collects the first byte asked for in each download of weights. `is_mute` accepts and never answers.
    As on the real hub, another host serves the weights; `leaked_tokens` collects the credentials sent to that host.
    """

    daemon_threads = True

    def __init__(self, repos: dict[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos = repos
        self.weight_ranges: list[int] = []
        self.leaked_tokens: list[str] = []
        self.cut_after: int | None = None
        self.stall_after: int | None = None
        self.delay_s = 0.0
        self.status: int | None = None
        self.is_mute = False
        self.is_over = threading.Event()

    @property
    def url(self) -> str:
        """Return the endpoint to give to the hub's client."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: tests kill clients on purpose."""


@contextmanager
def serve_hub(repos: dict[str, Path]) -> Iterator[HubServer]:
    """Run a hub that has `repos` (id -> folder) while the block runs."""
    with HubServer(repos) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.is_over.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.server.is_mute:
            self.server.is_over.wait()
            self.close_connection = True
            return
        if self.server.status is not None:
            self._answer(b"", status=self.server.status)
            return
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts[0] == "other-host":
            self._answer_weights(self.server.repos["/".join(parts[1:3])] / parts[3])
            return
        is_api = parts[:2] == ["api", "models"]
        parts = parts[2:] if is_api else parts
        folder = self.server.repos.get("/".join(parts[:2]))
        if folder is None:
            self._answer(b"{}", status=404, headers={"X-Error-Code": "RepoNotFound"})
        elif is_api:
            self._answer_api("/".join(parts[:2]), folder, wants_tree=parts[2:3] == ["tree"])
        else:
            self._answer_file("/".join(parts[:2]), folder / "/".join(parts[4:]))

    def _answer_api(self, repo_id: str, folder: Path, *, wants_tree: bool) -> None:
        rows = []
        for path in sorted(folder.iterdir()):
            content = path.read_bytes()
            row: dict[str, Any] = {"size": len(content)}
            git_id = hashlib.sha1(content).hexdigest()
            sha256 = hashlib.sha256(content).hexdigest()
            if wants_tree:
                row |= {"type": "file", "path": path.name, "oid": git_id}
                lfs = {"oid": sha256, "size": len(content), "pointerSize": 134}
            else:
                row |= {"rfilename": path.name, "blobId": git_id}
                lfs = {"sha256": sha256, "size": len(content), "pointerSize": 134}
            rows.append(row | ({"lfs": lfs} if path.suffix == ".safetensors" else {}))
        answer = rows if wants_tree else {"id": repo_id, "sha": COMMIT, "siblings": rows}
        self._answer(json.dumps(answer).encode(), headers={"Content-Type": "application/json"})

    def _answer_file(self, repo_id: str, path: Path) -> None:
        if not path.is_file():
            self._answer(b"", status=404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return
        content = path.read_bytes()
        headers = {"X-Repo-Commit": COMMIT}
        if path.suffix != ".safetensors":
            self._answer(content, headers=headers | {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'})
            return
        headers["X-Linked-ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        headers["X-Linked-Size"] = str(len(content))
        headers["Location"] = f"http://localhost:{self.server.server_port}/other-host/{repo_id}/{path.name}"
        self._answer(b"", status=302, headers=headers)

    def _answer_weights(self, path: Path) -> None:
        content = path.read_bytes()
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        headers = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"} if first else {}
        if self.command == "GET":
            self.server.weight_ranges.append(first)
        if "Authorization" in self.headers:
            self.server.leaked_tokens.append(self.headers["Authorization"])
        self._answer(content[first:], status=206 if first else 200, headers=headers, is_weights=True)

    def _answer(
        self, body: bytes, *, status: int = 200, headers: dict[str, str] | None = None, is_weights: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        num_sent = 0
        for start in range(0, len(body), CHUNK):
            if is_weights and self.server.stall_after is not None and num_sent >= self.server.stall_after:
                self.server.is_over.wait()
            if is_weights and self.server.cut_after is not None and num_sent >= self.server.cut_after:
                self.close_connection = True
                return
            if is_weights and self.server.delay_s:
                time.sleep(self.server.delay_s)
            self.wfile.write(body[start : start + CHUNK])
            num_sent += len(body[start : start + CHUNK])
