"""Cases 13 to 19: whose messages are whose, and names that brokers read something else into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsrooms.errors import InvalidChannel
from wsrooms.testing.conformance.case import case
from wsrooms.transports import room_channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from wsrooms.testing.conformance.instance import Instance, Listener
    from wsrooms.testing.conformance.trial import Trial

PATTERNS = ("*", ">", "#", "?", "**", "+", ".*", "[a-z]*", "ws:*", "a.*", "a.>", "\\*")
"""Rooms that are called like what some broker takes for many."""

ODD_NAMES = (
    *PATTERNS,
    " ",
    "with a space",
    " leading",
    "trailing ",
    "tab\tbed",
    ".",
    "..",
    ".a",
    "a.",
    "a..b",
    "a.b",
    "a",
    "%2E",
    "a%2Eb",
    "%",
    "%25",
    "a\x00b",
    "a\r\nb",
    "\r\nSUBSCRIBE x\r\n",
    '"quoted"',
    "'quoted'",
    "back\\slash",
    "a:b",
    "ws:room:a",
    "ws:server",
    "/chat/general",
    "/chat/general/",
    "UPPER",
    "upper",
    "{slot}a",
    "caf\u00e9",  # composed,
    "cafe\u0301",  # and decomposed: two rooms
    "\u6f22\u5b57",
    "\u202eabc",
    "\ufeffabc",
    "\U0001f600",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "x" * 1024,
    "x" * 1023,
    "\U0001f600" * 256,
)
"""Rooms that all are different ones, and none of which is more than itself."""


@case(13)
async def own_messages_are_skipped(trial: Trial) -> None:
    """An instance never hears what it publishes itself, on no channel, nor after a reconnect."""
    proxied = trial.rig.proxy is not None
    a = await trial.instance(through_proxy=True) if proxied else await trial.instance()
    b = await trial.instance()
    listeners = [await a.listen(trial.channel(name)) for name in ("one", "two")]
    await _says_to_itself(trial, a, b, listeners, "before")
    if not proxied:
        return
    await trial.cut(a)
    listeners = [await a.listen(listener.channel) for listener in listeners]
    await _says_to_itself(trial, a, b, listeners, "after")


async def _says_to_itself(
    trial: Trial, a: Instance, b: Instance, listeners: list[Listener], when: str
) -> None:
    """What ``a`` says is on its way back to it before what ``b`` says then."""
    for listener in listeners:
        for number in range(10):
            await a.say(listener.channel, f"own {when} {number} {listener.channel}")
        await trial.flushed(b, listener)
        heard = [payload for payload in listener.received if payload.startswith("own")]
        trial.check(not heard, f"its own messages came back {when} a reconnect: {heard[:3]}")
    trial.judge()


@case(14)
async def two_transports_in_one_process_hear_each_other(trial: Trial) -> None:
    """Transports of one process are instances like others: closing one disturbs no other."""
    a, b, c = await trial.several(3)
    ids = [each.id for each in (a, b, c) if each.id is not None]
    trial.check(len(set(ids)) == len(ids), f"two transports publish under one id: {ids}")
    channel = trial.channel()
    listeners = [await each.listen(channel) for each in (a, b, c)]
    for each in (a, b, c):
        await each.say(channel, f"from {each.name}")
    for listener in listeners:
        await trial.heard(listener, 2)
    trial.judge()
    await b.close()
    await a.say(channel, "to those who are left")
    await c.say(channel, "likewise")
    await trial.heard(listeners[0], 3)
    await trial.heard(listeners[2], 3)
    trial.judge()


@case(15, needs=("publish_raw",))
async def own_id_is_new_after_restart_of_the_instance(trial: Trial) -> None:
    """An instance that starts again has a new id, so it hears late messages of its former self."""
    before = await trial.instance("before")
    former = before.id
    if former is None:
        trial.skip("nobody can tell the id of an instance")
    channel = trial.channel()
    await before.say(channel, "early")
    await before.close()
    after = await trial.instance("after")
    trial.check(after.id != former, f"both publish as {former}")
    listener = await after.listen(channel)
    await trial.rig.publish_frame(channel, former, 1, 2, "late")
    await trial.until(lambda: "late" in listener.received, "the late message of the former self")


@case(16)
async def odd_room_names(trial: Trial) -> None:
    """A room is its name, letter by letter: each of these hears its own messages and no others."""
    a, b = await trial.several(2)
    listeners = [await b.listen(room_channel(name)) for name in ODD_NAMES]
    for listener in listeners:
        a.publish(listener.channel, f"for {listener.channel!a} {trial.mark}")
    for listener in listeners:
        await trial.heard(listener, 1)
        await trial.flushed(a, listener)
    trial.judge()
    for listener in listeners:
        await b.unsubscribe(listener.channel)


@case(17)
async def a_room_named_star_is_not_a_wildcard(trial: Trial) -> None:
    """Who is in a room named ``*`` hears that room and no other."""
    a, b, c = await trial.several(3)
    stars = [await b.listen(room_channel(pattern)) for pattern in PATTERNS]
    others = [await c.listen(trial.channel(name)) for name in ("x", "a", "a.b", "abc")]
    others += [await c.listen(room_channel(name)) for name in ("x", "a.b", "a.b.c", "abc")]
    for listener in (*others, *stars):
        await a.say(listener.channel, f"for {listener.channel!a} {trial.mark}")
    for listener in (*others, *stars):
        await trial.heard(listener, 1)
    for listener in stars:
        await trial.flushed(a, listener)
    trial.judge()
    for listener in (*others, *stars):
        await (b if listener in stars else c).unsubscribe(listener.channel)


@case(18)
async def unencodable_name(trial: Trial) -> None:
    """A lone surrogate in a name is an ``InvalidChannel``, or is carried unharmed; no more."""
    a, b = await trial.several(2)
    listener = await b.listen(trial.channel())
    channel = trial.channel("half an emoji: \ud83d")
    odd = await _accepted(trial, lambda: b.ask(channel)[1])
    published = await _accepted(trial, lambda: a.publish(channel, "to half an emoji"))
    trial.check(odd == published, "subscribe and publish disagree about the name")
    await a.say(listener.channel, "still there")
    await trial.heard(listener, 1)
    await trial.flushed(a, listener)
    trial.judge()
    if odd:
        await b.unsubscribe(channel)


async def _accepted(trial: Trial, call: Callable[[], object]) -> bool:
    """Whether a call succeeds; it may be refused with ``InvalidChannel``."""
    try:
        await trial.finished(call)
    except InvalidChannel:
        return False
    return True


@case(19, needs=("max_channel",))
async def name_over_the_limit(trial: Trial) -> None:
    """A channel that the broker could not carry is an ``InvalidChannel``; other rooms go on."""
    limit = trial.rig.max_channel
    if limit is None:
        trial.skip("there is no limit")
    a, b = await trial.several(2)
    listener = await b.listen(trial.channel())
    longest = trial.channel("x" * (limit - len(trial.channel("").encode())))
    at_limit = await b.listen(longest)
    await a.say(longest, "at the limit")
    await trial.heard(at_limit, 1)
    await trial.refused(InvalidChannel, lambda: b.ask(longest + "x")[1])
    await trial.refused(InvalidChannel, lambda: a.publish(longest + "x", "over the limit"))
    await a.say(listener.channel, "still there")
    await trial.heard(listener, 1)
    trial.judge()
