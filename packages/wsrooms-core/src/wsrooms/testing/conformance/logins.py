"""Cases 49 to 52: brokers that are not there, and those that refuse."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from wsrooms.errors import (
    AuthenticationFailed,
    PermissionDenied,
    TransportError,
    TransportUnavailable,
)
from wsrooms.testing.conformance.case import case
from wsrooms.testing.conformance.faults import (
    NOTICED,
    broker_of,
    noticed,
    settle,
)
from wsrooms.testing.conformance.trial import HEALED

if TYPE_CHECKING:
    from wsrooms.testing.conformance.instance import Instance
    from wsrooms.testing.conformance.rig import Misfit, Stranger
    from wsrooms.testing.conformance.trial import Trial

START_TIMEOUT = 5.0
"""Seconds within which ``start()`` has returned or raised, by the contract."""


@case(49, needs=("broker", "lifecycle", "address"), deadline=45.0)
async def absent_broker_at_start(trial: Trial) -> None:
    """Without a broker ``start()`` says soon which one is missing, and may be called again."""
    trial.broke("the broker was killed")
    await broker_of(trial).kill()
    b = trial.make()
    error = await _refused_start(trial, b, TransportUnavailable)
    address = trial.rig.address or ""
    trial.check(address in str(error), f"the error does not name {address}: {error}")
    await trial.refused(TransportError, lambda: b.transport.subscribe("ws:room:x", print))
    await broker_of(trial).start()
    await trial.within(START_TIMEOUT, b.start(), "the start of the same transport")
    a = await trial.instance()
    listener = await b.listen(trial.channel())
    await a.say(listener.channel, "hello")
    await settle(trial, [a], [listener])
    trial.judge()


async def _refused_start(
    trial: Trial, instance: Instance, *errors: type[TransportError]
) -> Exception:
    """The error with which ``start()`` fails in time; nothing may be left of it."""
    tasks = asyncio.all_tasks()
    loop = asyncio.get_running_loop()
    began = loop.time()
    error = await trial.refused(errors, lambda: asyncio.ensure_future(instance.start()))
    took = loop.time() - began
    trial.check(took < trial.allowed(START_TIMEOUT), f"start() took {took:.1f} s to fail")
    left = [task for task in asyncio.all_tasks() - tasks if not task.done()]
    trial.check(not left, f"start() has failed and left {left}")
    return error


async def _no_start(trial: Trial, why: Misfit, *errors: type[TransportError]) -> None:
    trial.expect_logs()
    records: list[logging.LogRecord] = []
    handler = _Collecting(records)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        async with AsyncExitStack() as stack:
            with trial.excused():  # it may have to make certificates, and a broker
                stranger = await stack.enter_async_context(trial.rig.misfit(why))
            instance = trial.instance_of(stranger.transport)
            error = await _refused_start(trial, instance, *errors)
            _no_secret(trial, stranger, [repr(stranger.transport), *_texts(error)])
            await instance.close()
    finally:
        root.removeHandler(handler)
    _no_secret(trial, stranger, [record.getMessage() for record in records])


def _no_secret(trial: Trial, stranger: Stranger, texts: list[str]) -> None:
    for secret in stranger.secrets:
        for text in texts:
            trial.check(secret not in text, f"a secret is shown: {text}")


def _texts(error: BaseException | None) -> list[str]:
    """All that a traceback would print of it."""
    texts: list[str] = []
    while error is not None:
        texts += [str(error), repr(error)]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return texts


class _Collecting(logging.Handler):
    def __init__(self, into: list[logging.LogRecord]) -> None:
        super().__init__(logging.DEBUG)
        self._into = into

    def emit(self, record: logging.LogRecord) -> None:
        self._into.append(record)


@case(50, needs=("misfit", "lifecycle"))
async def wrong_password(trial: Trial) -> None:
    """A wrong password is ``AuthenticationFailed`` at start, and is shown nowhere."""
    await _no_start(trial, "wrong_password", AuthenticationFailed)


@case(50, needs=("misfit", "lifecycle"))
async def missing_password(trial: Trial) -> None:
    """A broker that wants a password and gets none is ``AuthenticationFailed`` at start."""
    await _no_start(trial, "missing_password", AuthenticationFailed)


@case(50, needs=("misfit", "lifecycle"))
async def tls_untrusted(trial: Trial) -> None:
    """A certificate that nobody trusts is ``AuthenticationFailed`` at start."""
    await _no_start(trial, "tls_untrusted", AuthenticationFailed)


@case(50, needs=("misfit", "lifecycle"))
async def tls_to_plain_port(trial: Trial) -> None:
    """TLS to a broker that speaks none fails at start, in time."""
    await _no_start(trial, "tls_to_plain_port", AuthenticationFailed, TransportUnavailable)


@case(51, needs=("login",))
async def permission_denied_subscribe(trial: Trial) -> None:
    """A subscribe that the broker denies is ``PermissionDenied``; all others work, and go on."""
    trial.expect_logs()
    allowed, more, denied = (trial.channel(name) for name in ("allowed", "more", "denied"))
    async with trial.rig.login([allowed, more]) as login:
        a = await trial.instance()
        b = trial.instance_of(login.transport())
        await b.start()
        listener = await b.listen(allowed)
        _, refusal = b.ask(denied)
        other, receipt = b.ask(more)  # in one turn, so perhaps in one command
        await trial.refused(PermissionDenied, lambda: refusal)
        await trial.within(trial.rig.patience, receipt, "a subscribe beside the denied one")
        await trial.refused(PermissionDenied, lambda: b.ask(denied)[1])
        await b.unsubscribe(denied)
        for each in (listener, other):
            await a.say(each.channel, f"on {each.channel}")
        await a.say(denied, "not for b")
        await settle(trial, [a], [listener, other])
        await b.close()
    trial.judge()
    trial.check(all(state != "down" for state, _ in b.states), "the link was given up")


@case(51, needs=("login",))
async def permission_denied_publish(trial: Trial) -> None:
    """A publish that the broker denies is ``PermissionDenied``; all others work, and go on."""
    trial.expect_logs()
    allowed, denied = trial.channel("allowed"), trial.channel("denied")
    async with trial.rig.login([allowed]) as login:
        b = await trial.instance()
        a = trial.instance_of(login.transport())
        await a.start()
        listener, deaf = await b.listen(allowed), await b.listen(denied)
        before = a.publish(allowed, "before")
        refusal = a.publish(denied, "denied")
        after = a.publish(allowed, "after")
        await trial.refused(PermissionDenied, lambda: refusal)
        await trial.all_published([before, after])
        await settle(trial, [a], [listener])
        await a.close()
    trial.judge()
    trial.check(not deaf.received, "what was denied has arrived")
    trial.check(all(state != "down" for state, _ in a.states), "the link was given up")


@case(52, needs=("login", "state"), deadline=45.0)
async def credentials_revoked_at_reconnect(trial: Trial) -> None:
    """A login that is revoked is told as the reason, and tried until it works again."""
    trial.expect_logs()
    async with trial.rig.login() as login:
        a = await trial.instance()
        b = trial.instance_of(login.transport())
        await b.start()
        listener = await b.listen(trial.channel())
        async with noticed(trial, b):
            trial.broke("the login was revoked", b)
            await login.revoke()

        def says_why() -> bool:
            state, why = b.states[-1]
            return state == "down" and why is not None and login.refusal in why

        await trial.until(says_why, f"down with the broker's {login.refusal!r}", timeout=NOTICED)
        wish = b.ask(trial.channel("asked meanwhile"))
        await login.grant()
        await trial.up(b)
        await trial.within(HEALED, wish[1], "a subscribe that was asked meanwhile")
        for each in (listener, wish[0]):
            await a.say(each.channel, f"again on {each.channel}")
        await settle(trial, [a], [listener, wish[0]])
        await b.close()
    trial.judge()
