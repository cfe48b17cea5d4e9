"""The `llm` command with llm-anthropic, as in a terminal."""

import os
import signal
import subprocess
import sys

from cell import MODEL_OF_LLM, PROMPT, WEATHER, base_url, case, headers, run

FUNCTION = f'''
def weather(place: str) -> str:
    "The weather at a place."
    return place + ": {WEATHER}"
'''


class Refused(Exception):
    kind = "exit status 1"


def command(*more):
    env = {**os.environ, "ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": "any"}
    if headers:
        env["ANTHROPIC_CUSTOM_HEADERS"] = "\n".join(f"{name}: {value}" for name, value in headers.items())
    return subprocess.Popen(
        [sys.executable, "-m", "llm", "prompt", "-m", MODEL_OF_LLM, *more, PROMPT],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )


def text_of(child, pieces=None):
    text = b""
    while part := os.read(child.stdout.fileno(), 65536):
        text += part
        if pieces is not None:
            pieces.append(part)
    words = child.stderr.read().decode()
    if child.wait() != 0:
        raise Refused(words.strip())
    return text.decode().removesuffix("\n")


def plain(_pieces):
    return text_of(command("--no-stream"))


def streamed(pieces):
    return text_of(command(), pieces)


def tools(_pieces):
    return text_of(command("--no-stream", "--functions", FUNCTION))


def abort(pieces):
    child = command()
    pieces.append(os.read(child.stdout.fileno(), 65536).decode())
    child.send_signal(signal.SIGINT)
    child.wait()


run(plain=plain, streamed=streamed, tools=tools, abort=abort)
