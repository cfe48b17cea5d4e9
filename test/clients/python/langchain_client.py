"""LangChain for Python."""

from cell import MODEL, PROMPT, WEATHER, base_url, headers, retries, run
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

claude = ChatAnthropic(
    model=MODEL,
    max_tokens=1000,
    base_url=base_url,
    api_key="any",
    default_headers=headers,
    **({} if retries is None else {"max_retries": retries}),
)


def plain(_pieces):
    return claude.invoke(PROMPT).text


def streamed(pieces):
    pieces.extend(chunk.text for chunk in claude.stream(PROMPT) if chunk.text)


def tools(_pieces):
    @tool
    def weather(place: str) -> str:
        """The weather at a place."""
        return f"{place}: {WEATHER}"

    with_tools = claude.bind_tools([weather])
    question = HumanMessage(PROMPT)
    answer = with_tools.invoke([question])
    used = [weather.invoke(call) for call in answer.tool_calls]
    return with_tools.invoke([question, answer, *used]).text


def abort(pieces):
    for chunk in claude.stream(PROMPT):
        if chunk.text:
            pieces.append(chunk.text)
            break


run(plain=plain, streamed=streamed, tools=tools, abort=abort)
