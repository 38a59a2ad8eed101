"""Reads requests, a line of JSON each, with the CloudEvents SDK, and prints what it understood, a line for each event."""
import base64
import json
import sys

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat

for line in sys.stdin:
    request = json.loads(line)
    headers, body = request["headers"], base64.b64decode(request["body"])
    kind = headers["content-type"]
    bodies = [body]
    if kind.startswith("application/cloudevents-batch+json"):
        # The SDK knows no batches: each of their events is one that travels alone.
        bodies = [json.dumps(event).encode() for event in json.loads(body)]
        headers = headers | {"content-type": kind.replace("-batch", "")}
    for body in bodies:
        event = from_http_event(HTTPMessage(headers=headers, body=body), JSONFormat())
        attributes = {name: str(value) for name, value in event.get_attributes().items()}
        attributes["time"] = event.get_time().isoformat()
        data = event.get_data()
        data = data if isinstance(data, dict) else json.loads(data)
        print(json.dumps({"attributes": attributes, "data": data}), flush=True)
