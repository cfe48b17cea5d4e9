"""I write Python, and my calls may take until tomorrow: crashes in between must lose none.

    pip install nats-py
    python examples/python/durable_job.py

The receipt says that the job is stored. Its id is the order's: submitted again, it is the same job.
"""

import asyncio
import json
import os
import sys
import uuid

import nats

TENANT, LANE = "acme", "batch"
ORDER = f"order-{uuid.uuid4().hex[:8]}"
CALL = {
    "model": "claude-haiku-4-5",
    "max_tokens": 60,
    "messages": [{"role": "user", "content": "What does a headgate do?"}],
}


async def ask(nc, subject, body, headers, timeout):
    reply = await nc.request(subject, body, timeout=timeout, headers=headers)
    headers, body = reply.headers or {}, json.loads(reply.data)
    if "Nats-Service-Error-Code" not in headers:
        return headers, body
    # `pending` only says that it is not there yet; every other code is how the job ended.
    if body["headgate"]["code"] == "pending":
        return headers, None
    raise RuntimeError(f"{body['headgate']['code']}: {body['error']['message']}")


async def main() -> int:
    server = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    nc = await nats.connect(server, inbox_prefix=f"_INBOX_{TENANT}".encode())
    try:
        submit, call = f"llm.v1.submit.{TENANT}.{LANE}", json.dumps(CALL).encode()
        for _ in range(2):  # as whoever heard no receipt would
            _, receipt = await ask(nc, submit, call, {"Headgate-Id": ORDER}, 10)
            print("stored" if not receipt["duplicate"] else "it is there already")

        # From any program of the tenant, now or tomorrow.
        body = None
        while body is None:
            wait = {"Headgate-Wait-Ms": "10000"}
            headers, body = await ask(nc, f"llm.v1.fetch.{TENANT}.{ORDER}", b"", wait, 15)
    finally:
        await nc.close()
    print("".join(block["text"] for block in body["content"] if block["type"] == "text"))
    print(f"\n{headers['Headgate-Outcome']} after {headers['Headgate-Attempts']} attempt(s)")
    return 0


sys.exit(asyncio.run(main()))
