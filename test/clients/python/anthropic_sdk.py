"""The SDK for Python."""

import anthropic
from anthropic import beta_tool
from cell import MODEL, PROMPT, WEATHER, base_url, headers, retries, run

client = anthropic.Anthropic(
    base_url=base_url,
    api_key="any",
    default_headers=headers,
    **({} if retries is None else {"max_retries": retries}),
)
CALL = {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": PROMPT}]}


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def plain(_pieces):
    return text_of(client.messages.create(**CALL))


def streamed(pieces):
    with client.messages.stream(**CALL) as stream:
        pieces.extend(stream.text_stream)


def tools(_pieces):
    @beta_tool
    def weather(place: str) -> str:
        """The weather at a place."""
        return f"{place}: {WEATHER}"

    return text_of(client.beta.messages.tool_runner(tools=[weather], **CALL).until_done())


def abort(pieces):
    with client.messages.stream(**CALL) as stream:
        for text in stream.text_stream:
            pieces.append(text)
            break


run(plain=plain, streamed=streamed, tools=tools, abort=abort)
