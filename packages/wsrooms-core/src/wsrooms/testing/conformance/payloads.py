"""Cases 20 to 23: what is carried comes out as it went in, and what is foreign hurts nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsrooms.errors import PayloadTooLarge
from wsrooms.testing.conformance.case import case
from wsrooms.transports import SupportsMaxPayload

if TYPE_CHECKING:
    from wsrooms.testing.conformance.instance import Instance
    from wsrooms.testing.conformance.trial import Trial

LARGEST = 16 * 1024 * 1024
"""A limit above this is not tried: it would say more of the machine than of the transport."""

FOREIGN = (
    b"",
    b" ",
    b"1",
    b"1 ",
    b"\xff\xfe\xfd",
    b"\x00\x01\x02",
    b'{"event":"message","path":"/chat"}',
    b"[1, 2",
    b"1 0123456789abcdef",
    b"1 0123456789abcdef 1",
    b"1 0123456789abcdef 1 1",
    b"2 0123456789abcdef 1 1 of another version",
    b"1 0123456789abcdef 1 0 a sequence begins with 1",
    b"1 0123456789abcdef 1 -1 negative",
    b"1 0123456789abcdef -1 1 negative",
    b"1 0123456789abcdef 1 1e3 no integer",
    b"1 0123456789abcdef 1 %d too large" % 10**30,
    b"1 0123456789abcdef %d 1 too large" % 2**63,
    b"1 0123456789abcdef 1 1 \xff no text",
    b"1  1 1 without an instance",
)
"""What other programs may publish on our channels."""


@case(20, deadline=60.0)
async def payloads(trial: Trial) -> None:
    """Whatever a payload is made of, and up to the transport's limit, it arrives as it was."""
    a, b = await trial.several(2)
    listener = await b.listen(trial.channel())
    texts = [
        "",
        " ",
        "x",
        "\n",
        "\r\n",
        "\x00",
        "a\x00b",
        "\u00e9",
        "e\u0301",
        "\u6f22\u5b57 \U0001f600 \u202e \ufeff",
        "1 0123456789abcdef 1 1 like an envelope",
        '{"event":"message","path":"/chat","data":"\\ud83d"}',
        "x" * 65_536,
        "\U0001f600" * 16_384,
    ]
    limit = _limit(a)
    if limit is not None and limit <= LARGEST:
        texts = [text for text in texts if len(text.encode()) <= limit]
        texts += ["x" * limit, "\u00e9" * (limit // 2)]
    for text in texts:
        await a.say(listener.channel, text)
    await trial.heard(listener, len(texts), timeout=30.0)
    await trial.flushed(a, listener)
    trial.check(
        listener.received[: len(texts)] == texts,
        f"received, cut short: {[text[:40] for text in listener.received]}",
    )
    trial.judge()


@case(21, needs=("max_payload",))
async def oversized_payload(trial: Trial) -> None:
    """One byte over the limit is ``PayloadTooLarge``, sent to nobody; nothing else is touched."""
    a, b = await trial.several(2)
    limit = _limit(a)
    if limit is None or limit > LARGEST:
        trial.skip("there is no limit that could be tried")
    listener = await b.listen(trial.channel())
    before = a.publish(listener.channel, "before")
    too_large = "x" * (limit + 1)
    refusal = await trial.refused(PayloadTooLarge, lambda: a.publish(listener.channel, too_large))
    trial.check(
        isinstance(refusal, PayloadTooLarge) and refusal.limit == limit,
        f"the error does not tell the limit of {limit} bytes: {refusal}",
    )
    in_bytes = "\u00e9" * (limit // 2 + 1)
    await trial.refused(PayloadTooLarge, lambda: a.publish(listener.channel, in_bytes))
    await a.say(listener.channel, "after")
    await before
    await trial.heard(listener, 2)
    await trial.flushed(a, listener)
    trial.check(listener.received[:2] == ["before", "after"], "others were touched, or it arrived")
    trial.judge()


def _limit(instance: Instance) -> int | None:
    transport = instance.transport
    return transport.max_payload if isinstance(transport, SupportsMaxPayload) else None


@case(22, needs=("publish_raw", "stats"))
async def foreign_payloads(trial: Trial) -> None:
    """What is no envelope is dropped and counted, and logged once at most; the next arrives."""
    trial.expect_logs()
    a, b = await trial.several(2)
    listener = await b.listen(trial.channel())
    before = b.stats.get("foreign", 0)
    for number, data in enumerate(FOREIGN):
        await trial.rig.publish_raw(listener.channel, data)
        await a.say(listener.channel, f"after {number}")
        if not await trial.heard(listener, number + 1):
            break
    trial.judge()
    counted = b.stats.get("foreign", 0) - before
    trial.check(counted == len(FOREIGN), f"{counted} of {len(FOREIGN)} are counted as foreign")
    told = [record.getMessage() for record in trial.logs]
    trial.check(len(told) <= 1, f"logged {len(told)} times: {told[:3]}")


@case(23, needs=("publish_raw",))
async def forged_own_id_is_skipped(trial: Trial) -> None:
    """Who publishes under the id of an instance is not heard by it; others go on being heard."""
    a, b = await trial.several(2)
    own = b.id
    if own is None:
        trial.skip("nobody can tell the id of an instance")
    listener = await b.listen(trial.channel())
    for epoch, seq in ((1, 1), (1, 1_000_000), (2**62, 2**62)):
        await trial.rig.publish_frame(listener.channel, own, epoch, seq, f"forged {seq}")
        await a.say(listener.channel, f"after {seq}")
    await trial.heard(listener, 3)
    trial.judge()  # a forged one would be a message that nobody sent
