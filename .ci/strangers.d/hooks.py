"""How schemathesis sends a body of lines: one line of JSON."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson", "application/ndjson", "application/jsonl")
def lines(ctx, value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()
