"""A server that behaves like vLLM's, as a process of its own, with faults on demand.

    python fakevllm.py PORT '{"die_after": 20}'

Answers `/completions` on token ids: a prompt's answer is its ids turned round. Faults:
`print` and `exit` end it at once; `never_healthy` keeps it silent; `die_after` ends it after so
many answers, with `once` (a file that notes it) the first time alone; `ignore_term` makes it deaf
to SIGTERM; `child` starts a process in its group that is deaf to it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def main() -> None:
    """Serve until told to stop."""
    port, faults = int(sys.argv[1]), json.loads(sys.argv[2])
    print(faults.get("print", "fake server"), flush=True)
    if "exit" in faults:
        sys.exit(faults["exit"])
    if faults.get("ignore_term"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if faults.get("child"):
        subprocess.Popen([sys.executable, "-c", DEAF])
    ThreadingHTTPServer(("127.0.0.1", port), handler(faults)).serve_forever()


def handler(faults: dict[str, Any]) -> type[BaseHTTPRequestHandler]:
    """Return a handler with these faults."""
    lock, answered = threading.Lock(), [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self.send(503 if faults.get("never_healthy") else 200, {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers["Authorization"] != f"Bearer {os.environ['VLLM_API_KEY']}":
                self.send(401, {"error": {"message": "wrong key"}})
                return
            with lock:
                answered[0] += 1
                is_due = answered[0] > faults.get("die_after", 10**9)
                if is_due and not ("once" in faults and Path(faults["once"]).exists()):
                    Path(faults.get("once", os.devnull)).touch()
                    print("RuntimeError: the engine broke", flush=True)
                    os._exit(1)
            ids = body["prompt"][::-1][: body["max_tokens"]]
            choice = {"text": "?", "finish_reason": "stop", "token_ids": ids}
            usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(ids)}
            self.send(200, {"choices": [choice], "usage": usage})

        def send(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


if __name__ == "__main__":
    main()
