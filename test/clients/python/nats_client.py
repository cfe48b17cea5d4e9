"""nats-py, in one case."""

import asyncio
import json

import nats
from cell import MODEL, PROMPT, TOOL, WEATHER, base_url, case, deadline, run

# Longer than anything here takes.
PATIENCE_S = 600
SUBJECT = "llm.v1.request.acme.interactive"
HEADERS = {} if deadline == "lane" else {"Headgate-Deadline-Ms": deadline}


class AnsweredNo(Exception):
    """No exception of the client: it answers, and a header says that the answer is a no."""

    kind = "an answer"


def body(*more, **with_these):
    messages = [{"role": "user", "content": PROMPT}, *more]
    return json.dumps({"model": MODEL, "max_tokens": 1000, "messages": messages, **with_these}).encode()


def checked(message):
    if (message.headers or {}).get("Nats-Service-Error-Code"):
        raise AnsweredNo(message.data.decode())
    return message.data


async def ask(nc, asked):
    return json.loads(checked(await nc.request(SUBJECT, asked, timeout=PATIENCE_S, headers=HEADERS)))["content"]


def text_of(content):
    return "".join(block.get("text", "") for block in content)


async def plain(nc, _pieces):
    return text_of(await ask(nc, body()))


async def tools(nc, _pieces):
    content = await ask(nc, body(tools=[TOOL]))
    result = {"type": "tool_result", "tool_use_id": content[-1]["id"], "content": WEATHER}
    more = ({"role": "assistant", "content": content}, {"role": "user", "content": [result]})
    return text_of(await ask(nc, body(*more, tools=[TOOL])))


async def streamed(nc, pieces):
    inbox = nc.new_inbox()
    events = await nc.subscribe(inbox)
    await nc.publish(SUBJECT, body(stream=True), reply=inbox, headers=HEADERS)
    while data := checked(await events.next_msg(timeout=PATIENCE_S)):
        if text := json.loads(data).get("delta", {}).get("text"):
            pieces.append(text)
            if case == "abort":
                break
    await events.unsubscribe()


async def with_connection(way, pieces):
    async with await nats.connect(base_url) as nc:
        return await way(nc, pieces)


ways = {"plain": plain, "tools": tools, "streamed": streamed, "abort": streamed}
run(**{name: (lambda pieces, way=way: asyncio.run(with_connection(way, pieces))) for name, way in ways.items()})
