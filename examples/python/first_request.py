"""I write Python, and NATS is all I need.

    pip install nats-py
    python examples/python/first_request.py

The body is what you would POST to /v1/messages; scheduling goes into headers, accounting comes back in them.
"""

import asyncio
import json
import os
import sys

import nats

TENANT, LANE = "acme", "interactive"
CALL = {
    "model": "claude-haiku-4-5",
    "max_tokens": 60,
    "messages": [{"role": "user", "content": "What does a headgate do?"}],
}


async def main() -> int:
    # An inbox of the tenant's own: what per-tenant permissions allow.
    server = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    nc = await nats.connect(server, inbox_prefix=f"_INBOX_{TENANT}".encode())
    try:
        reply = await nc.request(
            f"llm.v1.request.{TENANT}.{LANE}",
            json.dumps(CALL).encode(),
            timeout=35,
            headers={"Headgate-Deadline-Ms": "30000"},
        )
    finally:
        await nc.close()

    headers, body = reply.headers or {}, json.loads(reply.data)
    if "Nats-Service-Error-Code" in headers:
        why = body["headgate"]
        print(f"{why['code']}: {body['error']['message']}", file=sys.stderr)
        if why["retryable"]:
            print(f"the same may work in {why['retry_after_ms']} ms", file=sys.stderr)
        return 1
    print("".join(block["text"] for block in body["content"] if block["type"] == "text"))
    print(f"\n{headers['Headgate-Outcome']} after {headers['Headgate-Queue-Ms']} ms in the queue")
    return 0


sys.exit(asyncio.run(main()))
