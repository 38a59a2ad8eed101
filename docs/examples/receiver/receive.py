#!/usr/bin/env python3
"""Prints the CloudEvents that are posted to it, a line each, in the order in which they come: receive.py [PORT]"""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

printing = Lock()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.headers["Content-Type"]
        if kind.startswith("application/cloudevents-batch+json"):
            events = json.loads(body)
        elif kind.startswith("application/cloudevents+json"):
            events = [json.loads(body)]
        else:  # binary: the attributes are headers
            names = [name for name in self.headers if name.lower().startswith("ce-")]
            data = json.loads(body) if kind.startswith("application/json") else body.decode(errors="replace")
            events = [{name.lower()[3:]: self.headers[name] for name in names} | {"data": data}]
        with printing:
            for event in events:
                op, row = "-", event.get("data", event.get("data_base64"))
                if isinstance(row, dict) and "op" in row:  # transforms make other data
                    op, row = row["op"], row.get("message") or row.get("after") or row.get("before")
                print(op, event.get("subject", "-"), json.dumps(row, ensure_ascii=False), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    print(f"listening on http://127.0.0.1:{port}/", flush=True)
    try:
        ThreadingHTTPServer(("127.0.0.1", port), Receiver).serve_forever()
    except KeyboardInterrupt:
        pass
