"""The unmodified Python SDK, called as a test says: one JSON call a line on stdin, one JSON end a line on stdout.

    {"id": 1, "client": "sync", "options": {"base_url": …}, "do": "messages.create", "params": {…}}
    {"id": 1, "ok": {…}}    or    {"id": 1, "error": {…}}

One process for many calls, since the import takes a second. `do` is a method's path; a stream is read to its
end, or closed after `leave_after` events. `{"cancel": 1}` cancels an async call.
"""

import asyncio
import json
import sys

import anthropic
from anthropic import beta_async_tool, beta_tool

WEATHER = "rain from the west"


def method_at(client, path):
    method = client
    for name in path.split("."):
        method = getattr(method, name)
    return method


def plain(value):
    return value.to_dict(mode="json") if hasattr(value, "to_dict") else value


def lines_of(parsed):
    """Of results in lines, a list."""
    return [plain(line) for line in parsed] if type(parsed).__name__ == "JSONLDecoder" else plain(parsed)


async def async_lines_of(parsed):
    if type(parsed).__name__ != "AsyncJSONLDecoder":
        return plain(parsed)
    return [plain(line) async for line in parsed]


def headers_of(response):
    return {name.lower(): value for name, value in response.headers.items()}


# ---- sync ----


def call_sync(call):
    with anthropic.Anthropic(**call["options"]) as client:
        if call["do"].endswith("tool_runner"):
            return run_tools_sync(client, call)
        if call["do"].endswith(".stream"):
            with method_at(client, call["do"])(**call["params"]) as stream:
                return read_helper_sync(stream, call.get("leave_after"))
        if call["params"].get("stream"):
            return read_raw_sync(method_at(client, call["do"])(**call["params"]), call.get("leave_after"))
        *parents, last = call["do"].split(".")
        owner = method_at(client, ".".join(parents)).with_raw_response
        raw = getattr(owner, last)(*call.get("args", []), **call["params"])
        return {"headers": headers_of(raw), "retries": raw.retries_taken, "body": lines_of(raw.parse())}


def read_helper_sync(stream, leave_after):
    events = []
    for event in stream:
        events.append(event.type)
        if len(events) == leave_after:
            return {"events": events}
    final = stream.get_final_message()
    return {"events": events, "request_id": stream.request_id, "final": plain(final)}


def read_raw_sync(stream, leave_after):
    events = []
    with stream:
        for event in stream:
            events.append(plain(event))
            if len(events) == leave_after:
                break
    return {"events": events, "headers": headers_of(stream.response)}


def run_tools_sync(client, call):
    @beta_tool
    def weather(place: str) -> str:
        """The weather at a place."""
        return f"{place}: {WEATHER}"

    runner = client.beta.messages.tool_runner(tools=[weather], **call["params"])
    return {"turns": [plain(message) for message in runner]}


# ---- async ----


async def call_async(call):
    async with anthropic.AsyncAnthropic(**call["options"]) as client:
        if call["do"].endswith("tool_runner"):
            return await run_tools_async(client, call)
        if call["do"].endswith(".stream"):
            async with method_at(client, call["do"])(**call["params"]) as stream:
                return await read_helper_async(stream, call.get("leave_after"))
        if call["params"].get("stream"):
            return await read_raw_async(await method_at(client, call["do"])(**call["params"]), call.get("leave_after"))
        *parents, last = call["do"].split(".")
        owner = method_at(client, ".".join(parents)).with_raw_response
        raw = await getattr(owner, last)(*call.get("args", []), **call["params"])
        body = raw.parse()
        if asyncio.iscoroutine(body):
            body = await body
        return {"headers": headers_of(raw), "retries": raw.retries_taken, "body": await async_lines_of(body)}


async def read_helper_async(stream, leave_after):
    events = []
    async for event in stream:
        events.append(event.type)
        if len(events) == leave_after:
            return {"events": events}
    final = await stream.get_final_message()
    return {"events": events, "request_id": stream.request_id, "final": plain(final)}


async def read_raw_async(stream, leave_after):
    events = []
    async with stream:
        async for event in stream:
            events.append(plain(event))
            if len(events) == leave_after:
                break
    return {"events": events, "headers": headers_of(stream.response)}


async def run_tools_async(client, call):
    @beta_async_tool
    async def weather(place: str) -> str:
        """The weather at a place."""
        return f"{place}: {WEATHER}"

    runner = client.beta.messages.tool_runner(tools=[weather], **call["params"])
    return {"turns": [plain(message) async for message in runner]}


# ---- lines ----


def told(error):
    """What a program may see of an exception, and how often the SDK had asked again before it."""
    response, request = getattr(error, "response", None), getattr(error, "request", None)
    seen = {} if response is None else headers_of(response)
    return {
        "class": type(error).__name__,
        "parents": [kind.__name__ for kind in type(error).__mro__[1:] if kind.__module__.startswith("anthropic")],
        "status": getattr(error, "status_code", None),
        "type": getattr(error, "type", None),
        "code": getattr(error, "error_code", None),
        "request_id": getattr(error, "request_id", None),
        "body": getattr(error, "body", None),
        "headers": seen,
        "retries": None if request is None else int(request.headers.get("x-stainless-retry-count", -1)),
    }


async def answer(call):
    try:
        made = call_async(call) if call["client"] == "async" else asyncio.to_thread(call_sync, call)
        end = {"ok": await made}
    except asyncio.CancelledError:
        end = {"error": {"class": "CancelledError"}}
    except Exception as error:
        end = {"error": told(error)}
    print(json.dumps({"id": call["id"], **end}), flush=True)


async def main():
    loop, calls = asyncio.get_running_loop(), {}
    print(json.dumps({"ready": anthropic.__version__}), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        call = json.loads(line)
        if "cancel" in call:
            calls[call["cancel"]].cancel()
        else:
            calls[call["id"]] = asyncio.create_task(answer(call))
    await asyncio.gather(*calls.values())


asyncio.run(main())
