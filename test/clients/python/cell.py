"""One call of one client, told as one line of JSON on stdout:

    python CLIENT.py BASE_URL CASE RETRIES DEADLINE_MS

As cell.mjs has it for JavaScript.
"""

import json
import sys
import time

base_url, case, retries, deadline = sys.argv[1:5]
retries = None if retries == "default" else int(retries)
headers = {} if deadline == "lane" else {"headgate-deadline-ms": deadline}
MODEL = "claude-haiku-4-5"
# A list of its own.
MODEL_OF_LLM = "claude-haiku-4.5"
PROMPT = "Say something about a river."
WEATHER = "rain from the west"
TOOL = {
    "name": "weather",
    "description": "The weather at a place",
    "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}},
}


def run(**ways):
    """Each way gets a list for the pieces that it reads, and may give the text; a case without one is `plain`."""
    pieces = []
    began = time.monotonic()
    try:
        text = ways.get(case, ways["plain"])(pieces)
        end = {"text": "".join(pieces) if text is None else text, "pieces": len(pieces)}
    except Exception as error:
        kind = getattr(error, "kind", type(error).__name__)
        end = {"error": {"type": kind, "message": str(error)}}
    print(json.dumps({**end, "ms": round((time.monotonic() - began) * 1000)}), flush=True)
