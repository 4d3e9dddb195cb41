"""A web server for the files of a directory, on loopback; it counts what is asked and can misbehave."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class FileServer:
    """A running server.

    Attributes:
        root: the directory whose files it shows.
        url: where.
        asked: the paths that were asked for.
        redirect: where every request is sent instead; empty for nowhere.
        breaks_off: answers only half of a file.
    """

    root: Path
    url: str = ""
    asked: list[str] = field(default_factory=list)
    redirect: str = ""
    breaks_off: bool = False


@contextmanager
def serving(root: Path) -> Iterator[FileServer]:
    """Show the files of a directory until the end of the block."""
    shown = FileServer(root)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.asked.append(self.path)
            path = root / self.path.partition("?")[0].lstrip("/")
            if shown.redirect:
                self.send_response(302)
                self.send_header("location", shown.redirect)
                self.end_headers()
                return
            if not path.is_file():
                self.send_error(404)
                return
            content = path.read_bytes()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if shown.breaks_off else content)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shown.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield shown
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
