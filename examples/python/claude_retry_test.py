"""Checks claude_retry.py: no network, no key, no package but Python's own.

python examples/python/claude_retry_test.py
"""

import asyncio
import itertools
import logging
import random
import sys
import unittest
from pathlib import Path

sys.dont_write_bytecode = True  # nothing is left beside the examples
sys.path.insert(0, str(Path(__file__).parent))
from claude_retry import RETRY_AFTER_MAX_S, claude_retry  # noqa: E402

PROMPT = "planted-prompt-7f3a"


class Response:
    def __init__(self, headers):
        self.headers = headers


class APIStatusError(Exception):
    """As the SDK's: a status, the response, the body."""

    def __init__(self, status, headers=None, code=None):
        super().__init__(f"Error code: {status} - {PROMPT}")
        self.status_code = status
        self.response = Response(headers or {})
        details = {} if code is None else {"details": {"error_code": code}}
        self.body = {"type": "error", "error": {"type": "some_error", "message": PROMPT, **details}}


class APIConnectionError(Exception):
    pass


class APITimeoutError(APIConnectionError):
    pass


class Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.all = []

    def emit(self, record):
        self.all.append((record.levelname, record.getMessage()))


class Bench:
    """A call that gives these in turn, the last for ever; waits that pass at once; dice that are known: what
    they show in turn, or a function."""

    def __init__(self, *turns, dice=(0.5,), **options):
        self.turns, self.calls, self.waits = turns, 0, []
        self.lines = Lines()
        log = logging.Logger("test")
        log.addHandler(self.lines)

        shown = itertools.cycle(dice) if isinstance(dice, tuple) else iter(dice, None)

        async def sleep(seconds):
            self.waits.append(seconds)

        @claude_retry(**{"sleep": sleep, "dice": lambda: next(shown), "log": log, **options})
        async def ask(question):
            turn = self.turns[min(self.calls, len(self.turns) - 1)]
            self.calls += 1
            if isinstance(turn, Exception):
                raise turn
            return await turn() if callable(turn) else turn

        self.ask = ask


class ClaudeRetry(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        # unittest's debug mode reports every slow step of a busy machine.
        asyncio.get_running_loop().set_debug(False)

    async def fails(self, bench):
        try:
            await bench.ask(PROMPT)
        except Exception as error:
            return error
        self.fail("it should have failed")

    async def test_what_may_pass_is_tried_again(self):
        for error in (APIStatusError(429), APIStatusError(529), APITimeoutError(), asyncio.TimeoutError()):
            bench = Bench(error, error, "answer")
            self.assertEqual(await bench.ask(PROMPT), "answer")
            self.assertEqual(bench.calls, 3)

    async def test_six_calls_at_most_and_the_very_error_of_the_last(self):
        errors = [APIStatusError(529) for _ in range(9)]
        bench = Bench(*errors)
        self.assertIs(await self.fails(bench), errors[5])
        self.assertEqual(bench.calls, 6)

    async def test_what_cannot_succeed_is_raised_at_once_and_as_it_is(self):
        statuses = (302, 400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 499, 500, 501, 502, 503, 504, 524)
        errors = [APIStatusError(status) for status in statuses]
        errors += [APIStatusError(429, code="enforced_spend_limit_reached")]
        errors += [APIStatusError(429, {"retry-after": "3600"}, code="contract_spend_limit_reached")]
        errors += [APIStatusError(529, {"x-should-retry": "false"})]
        errors += [APIConnectionError(), ValueError(), KeyError("status_code")]
        for error in errors:
            bench = Bench(error)
            self.assertIs(await self.fails(bench), error)
            self.assertEqual((bench.calls, bench.waits, bench.lines.all), (1, [], []), repr(error))

    async def test_a_bare_429_is_not_taken_for_a_spend_limit(self):
        odd = APIStatusError(429)
        odd.body = "<html>"
        for error in (odd, APIStatusError(429, code="ramp_limit_exceeded")):
            self.assertEqual(await Bench(error, "answer").ask(PROMPT), "answer")

    async def test_waits_are_below_a_ceiling_that_doubles_from_base_to_cap(self):
        bench = Bench(APIStatusError(529), dice=(0.5, 0.25, 0, 0.75, 0.5, 0.5, 0.5), retries=7)
        await self.fails(bench)
        self.assertEqual(bench.waits, [0.5, 0.5, 0, 6, 8, 16, 16])

    async def test_retry_after(self):
        for text, wait in {
            "5": 5.5,
            "1.5": 2.0,
            " 7 ": 7.5,
            "0.25": 1.0,  # the own delay of 0.5 is the larger one
            "300": 300.5,
            "301": RETRY_AFTER_MAX_S + 0.5,
            "2678400": RETRY_AFTER_MAX_S + 0.5,
            "9" * 400: RETRY_AFTER_MAX_S + 0.5,
            **dict.fromkeys(("0", "-3", "abc", "", "5s", "1e3", "nan", "inf", "٥", "5\n6"), 0.5),
            "Wed, 21 Oct 2026 07:28:00 GMT": 0.5,
        }.items():
            for status in (429, 529):
                bench = Bench(APIStatusError(status, {"retry-after": text}), "answer")
                await bench.ask(PROMPT)
                self.assertEqual(bench.waits, [wait], text)

    async def test_a_call_that_hangs_is_ended_and_tried_again(self):
        ended = []

        async def hang():
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        bench = Bench(hang, hang, "answer", timeout_s=0.01)
        self.assertEqual(await bench.ask(PROMPT), "answer")
        self.assertEqual((bench.calls, len(ended)), (3, 2))
        never = Bench(hang, timeout_s=0.01, retries=1)
        self.assertIsInstance(await self.fails(never), asyncio.TimeoutError)

    async def test_a_cancelled_caller_waits_no_longer(self):
        waiting = asyncio.Event()

        async def sleep(_):
            waiting.set()
            await asyncio.Event().wait()

        bench = Bench(APIStatusError(529), sleep=sleep)
        task = asyncio.create_task(bench.ask(PROMPT))
        await waiting.wait()
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        self.assertEqual(bench.calls, 1)

    async def test_a_warning_per_retry_and_an_error_at_the_end(self):
        day = APIStatusError(429, {"retry-after": "86400"})
        bench = Bench(APIStatusError(529), APITimeoutError(), day, APIStatusError(529), retries=3)
        await self.fails(bench)
        self.assertEqual(
            bench.lines.all,
            [
                ("WARNING", "Claude call failed with 529, attempt 1 of 4; next in 500 ms"),
                ("WARNING", "Claude call failed with timeout, attempt 2 of 4; next in 1000 ms"),
                (
                    "WARNING",
                    "Claude call failed with 429, attempt 3 of 4; next in 300500 ms"
                    " (retry-after was longer, and cut)",
                ),
                ("ERROR", "Claude call failed with 529, attempt 4 of 4; no tries left"),
            ],
        )
        self.assertNotIn(PROMPT, str(bench.lines.all))

    async def test_callers_that_fail_together_do_not_come_back_together(self):
        for seed in range(1, 6):
            dice = random.Random(seed).random
            benches = [Bench(APIStatusError(529), "answer", dice=dice) for _ in range(1000)]
            await asyncio.gather(*(bench.ask(PROMPT) for bench in benches))
            waits = [seconds for bench in benches for seconds in bench.waits]
            self.assertEqual(len(waits), 1000)
            # Uniform: chi-square over 20 bins, 19 degrees of freedom; one honest run in 1,000 is above 43.8.
            bins = [0] * 20
            for seconds in waits:
                bins[int(seconds * 20)] += 1
            self.assertLess(sum((n - 50) ** 2 / 50 for n in bins), 43.8, f"seed {seed}")


if __name__ == "__main__":
    unittest.main()
