"""LiteLLM, as a library; a number that comes last is its `num_retries`."""

import json
import sys

import litellm
from cell import MODEL, PROMPT, TOOL, WEATHER, base_url, headers, retries, run

litellm.suppress_debug_info = True
NUM_RETRIES = retries if len(sys.argv) < 6 else int(sys.argv[5])
QUESTION = {"role": "user", "content": PROMPT}
FUNCTION = {
    "name": TOOL["name"],
    "description": TOOL["description"],
    "parameters": TOOL["input_schema"],
}


def complete(messages, **more):
    return litellm.completion(
        model=f"anthropic/{MODEL}",
        messages=messages,
        max_tokens=1000,
        api_base=base_url,
        api_key="any",
        extra_headers=headers,
        **({} if NUM_RETRIES is None else {"num_retries": NUM_RETRIES}),
        **more,
    )


def plain(_pieces):
    return complete([QUESTION]).choices[0].message.content


def texts():
    for chunk in complete([QUESTION], stream=True):
        if chunk.choices[0].delta.content:
            yield chunk.choices[0].delta.content


def streamed(pieces):
    pieces.extend(texts())


def tools(_pieces):
    offered = [{"type": "function", "function": FUNCTION}]
    answer = complete([QUESTION], tools=offered).choices[0].message
    used = [
        {"role": "tool", "tool_call_id": call.id, "content": f"{json.loads(call.function.arguments)['place']}: {WEATHER}"}
        for call in answer.tool_calls
    ]
    return complete([QUESTION, answer, *used], tools=offered).choices[0].message.content


def abort(pieces):
    for text in texts():
        pieces.append(text)
        break


run(plain=plain, streamed=streamed, tools=tools, abort=abort)
