"""I write Python, and a call to Claude should survive 429, 529 and a hang. No Headgate, no NATS.

    pip install anthropic
    ANTHROPIC_API_KEY=... python examples/python/claude_retry.py

Copy the file. Decorate the API call and nothing else: all of the function's body runs again. The client must
not retry too, so `AsyncAnthropic(max_retries=0)`. What cannot succeed (400, 401, 403, 500, a spend limit) is
raised at once, and the last try's own error at the end; a hang is asyncio's TimeoutError, or the SDK's where
the client's own timeout is the shorter one. A call that hung may have run, and may be billed again.
"""

import asyncio
import functools
import logging
import random
import re
from typing import Any, Awaitable, Callable, Optional, TypeVar

T = TypeVar("T")
RETRY_AFTER_MAX_S = 300.0  # a longer retry-after is cut to this: values of days exist
SPEND_LIMITS = ("enforced_spend_limit_reached", "contract_spend_limit_reached")


def claude_retry(
    *,
    retries: int = 5,
    base_s: float = 1.0,
    cap_s: float = 32.0,
    buffer_s: float = 0.5,
    timeout_s: float = 60.0,
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    dice: Callable[[], float] = random.random,
    log: logging.Logger = logging.getLogger("claude_retry"),
) -> Callable[[Callable[..., Awaitable[T]]], Callable[..., Awaitable[T]]]:
    """Tries again what may pass: at most `retries` + 1 calls of `timeout_s` each. Before retry n (from 0) it
    waits U(0, min(cap_s, base_s * 2**n)), or what retry-after asks for if that is more, plus `buffer_s`."""

    def decorate(call: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        @functools.wraps(call)
        async def safe(*args: Any, **kwargs: Any) -> T:
            attempt = 0
            while True:
                try:
                    return await asyncio.wait_for(call(*args, **kwargs), timeout_s)
                except Exception as error:
                    kind, asked_s = retryable(error), retry_after_s(error)
                    failed = f"Claude call failed with {kind}, attempt {attempt + 1} of {retries + 1}"
                    if kind is not None and attempt == retries:
                        log.error("%s; no tries left", failed)
                    if kind is None or attempt == retries:
                        raise
                wait_s = dice() * min(cap_s, base_s * 2 ** min(attempt, 30))
                if asked_s is not None:
                    wait_s = max(min(asked_s, RETRY_AFTER_MAX_S), wait_s) + buffer_s
                cut = " (retry-after was longer, and cut)" if (asked_s or 0) > RETRY_AFTER_MAX_S else ""
                log.warning("%s; next in %d ms%s", failed, round(wait_s * 1000), cut)
                await sleep(wait_s)
                attempt += 1

        return safe

    return decorate


def retryable(error: Exception) -> Optional[str]:
    """What failed, as a log line may say it; None: it cannot succeed, or is not for us to judge."""
    status = getattr(error, "status_code", None)
    if status in (429, 529):
        code = getattr(error, "body", None)
        for key in ("error", "details", "error_code"):
            code = code.get(key) if isinstance(code, dict) else None
        return None if code in SPEND_LIMITS or header(error, "x-should-retry") == "false" else str(status)
    timeout = isinstance(error, (TimeoutError, asyncio.TimeoutError))
    return "timeout" if timeout or "APITimeoutError" in (c.__name__ for c in type(error).__mro__) else None


def retry_after_s(error: Exception) -> Optional[float]:
    """None: absent, or no number of seconds above 0. A date is none; an API under load is known to say 0."""
    text = header(error, "retry-after").strip()
    return float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) and float(text) > 0 else None


def header(error: Exception, name: str) -> str:
    return str(getattr(getattr(error, "response", None), "headers", {}).get(name, ""))


async def main() -> None:
    from anthropic import AsyncAnthropic

    client = AsyncAnthropic(max_retries=0)

    @claude_retry()
    async def ask(question: str) -> Any:
        messages: Any = [{"role": "user", "content": question}]
        return await client.messages.create(model="claude-haiku-4-5", max_tokens=60, messages=messages)

    async with client:
        answer = await ask("What does a headgate do?")
    print("".join(block.text for block in answer.content if block.type == "text"))


if __name__ == "__main__":
    asyncio.run(main())
