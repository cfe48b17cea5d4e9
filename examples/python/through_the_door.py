"""I use the Anthropic SDK already, and change one line.

    pip install anthropic
    python examples/python/through_the_door.py
"""

import os

import anthropic

client = anthropic.Anthropic(
    base_url=os.environ.get("HEADGATE_GATEWAY_URL", "http://127.0.0.1:8781"),
    # Yours of the tenants' keys; where none is configured, anything.
    api_key=os.environ.get("HEADGATE_KEY", "any"),
)
CALL = {
    "model": "claude-haiku-4-5",
    "max_tokens": 60,
    "messages": [{"role": "user", "content": "What does a headgate do?"}],
}

with client.messages.stream(**CALL, extra_headers={"headgate-lane": "premium"}) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
print(f"\n\n{stream.get_final_message().usage.output_tokens} tokens, as {stream.request_id}")

# What it waited for and what it cost is in the headers of an answer.
answer = client.messages.with_raw_response.create(**CALL)
print(f"{answer.headers['headgate-outcome']} after {answer.headers['headgate-queue-ms']} ms in the queue")
