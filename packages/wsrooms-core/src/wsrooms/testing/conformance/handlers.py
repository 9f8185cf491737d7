"""Cases 47 and 48: what a handler may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsrooms.testing.conformance.case import case

if TYPE_CHECKING:
    from wsrooms.receipt import Receipt
    from wsrooms.testing.conformance.trial import Trial


class Failure(Exception):
    """What a handler raises."""


@case(47)
async def handler_raises(trial: Trial) -> None:
    """An exception in a handler is logged and counted, and the next message is delivered."""
    trial.expect_logs()
    a, b = await trial.several(2)
    channel = trial.channel()
    listener = await b.listen(channel)
    other = await b.listen(trial.channel("other"))
    before = b.stats.get("handler_errors")

    def fail(payload: str) -> None:
        if payload.startswith("bad"):
            raise Failure(payload)

    listener.on_payload = fail
    for number in range(3):
        await a.say(channel, f"bad {number}")
        await a.say(channel, f"good {number}")
    await a.say(other.channel, "untouched")
    await trial.heard(listener, 6)
    await trial.heard(other, 1)
    trial.judge()
    told = [record for record in trial.logs if record.exc_info]
    trial.check(told, "an exception of a handler is not logged with its traceback")
    if before is not None:
        counted = b.stats["handler_errors"] - before
        trial.check(counted == 3, f"{counted} of 3 exceptions are counted")


@case(48)
async def handler_calls_the_transport(trial: Trial) -> None:
    """A handler may publish, subscribe and unsubscribe, also what it is the handler of."""
    a, b = await trial.several(2)
    questions, answers = trial.channel("questions"), trial.channel("answers")
    more, less = trial.channel("more"), trial.channel("less")
    receipts: list[Receipt] = []

    def answer(payload: str) -> None:
        receipts.append(b.publish(answers, f"answer to {payload}"))
        receipts.append(b.ask(more)[1])
        receipts.append(b.drop(less))
        receipts.append(b.drop(questions))

    listener = await b.listen(questions)
    listener.on_payload = answer
    dropped = await b.listen(less)
    answered = await a.listen(answers)
    await a.say(questions, "the question")
    await trial.heard(answered, 1)
    await trial.until(lambda: len(receipts) == 4, "the calls of the handler")
    await trial.all_published(receipts)
    added = b.listener(more)
    await a.say(less, "to nobody")
    await a.say(questions, "to nobody any more")
    await a.say(more, "to the one that was added")
    await trial.until(lambda: added is not None and added.received, "what was subscribed there")
    trial.judge()
    trial.check(not dropped.received, "what was unsubscribed in a handler is still heard")
