"""One message for many members, and its form between instances.

A broadcast is encoded once for all clients and once for the bus, whoever and
however many receive it. The payload between instances is the original's JSON;
its data passes through undecoded, checked to be JSON.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec import UNSET, Raw, Struct

from wsrooms.connection import WsConnection, WsMember
from wsrooms.sendbuffer import BATCH_FROM, Batch
from wsrooms.wire import NO_DATA, NO_RAW, decode_data, mend_surrogates

if TYPE_CHECKING:
    from wsrooms.sendbuffer import Flusher, SendBuffer
    from wsrooms.wire import Codec, Params

__all__ = ["Broadcast", "Fanout", "ForeignPayload", "Payload", "checked_params", "read_payload"]


class ForeignPayload(ValueError):
    """What came over the bus is no message of ours."""


class Payload(Struct, gc=False, omit_defaults=True):
    """What travels between instances; the names are the original's."""

    event: str
    path: str
    data: Raw = NO_RAW
    params: dict[str, str | list[str]] | None = None
    excludeId: str | None = None


_decode_payload = msgspec.json.Decoder(Payload).decode
_encode_payload = msgspec.json.Encoder().encode


def read_payload(payload: str) -> Payload:
    """A message of another instance.

    Raises:
        ForeignPayload: It is none.
    """
    try:
        document = payload.encode()
        if b"\\ud" in document or b"\\uD" in document:
            document = mend_surrogates(document)
        return _decode_payload(document)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError, AttributeError) as error:
        raise ForeignPayload(str(error)) from error


def checked_params(params: Params | None) -> Params | None:
    """``params`` as they may travel: what is not text here would be foreign elsewhere.

    Raises:
        TypeError: A name is no str, or a value neither a str nor a list of them.
    """
    for name, value in (params or {}).items():
        values = [value] if isinstance(value, str) else value
        if not isinstance(name, str) or not isinstance(values, list | tuple):
            raise TypeError(f"params[{name!r}] is {value!r}: give a str or a list of str")
        if not all(isinstance(one, str) for one in values):
            raise TypeError(f"params[{name!r}] holds {value!r}: give a list of str")
    return params


class Broadcast:
    """One message for many: encoded at most once a form, whoever receives it."""

    __slots__ = (
        "_codec",
        "_decoded",
        "_frame",
        "_logger",
        "_payload",
        "data",
        "event",
        "params",
        "path",
    )

    def __init__(
        self,
        codec: Codec,
        event: str,
        path: str,
        data: object,
        params: Params | None,
        logger: logging.Logger | None = None,
    ) -> None:
        """Take the parts; nothing is encoded yet. It is for one call of one send.

        ``logger`` is for members of other classes than ``WsConnection``: their send may fail.
        """
        self._codec = codec
        self.event: str = event
        self.path: str = path
        # The data_raw of a message without data: passing it on sends none.
        self.data = UNSET if data is NO_DATA or (type(data) is Raw and not data) else data
        self.params: Params | None = params or None
        self._frame: bytes | None = None
        self._payload: bytes | None = None
        self._decoded: Any = UNSET
        self._logger = logger

    def encode(self) -> bytes:
        """The frame that every client receives.

        Raises:
            TypeError: The data has no JSON form.
            ValueError: Likewise.
        """
        if self._frame is None:
            self._frame = self._codec.push(self.event, self.path, self.data, self.params)
        return self._frame

    def deliver(self, members: Iterable[WsMember], exclude: WsMember | str | None) -> None:
        """Give it to ``members``, except for one of them."""
        frame = self.encode()
        if isinstance(exclude, str):
            members = [member for member in members if member.id != exclude]
            exclude = None
        others: list[WsMember] | None = None
        for member in members:
            if member is exclude:
                continue
            if type(member) is WsConnection:
                member._deliver(frame)
            elif others is None:
                others = [member]
            else:
                others.append(member)
        for member in others or ():  # not while looping: their send() may join and leave
            self._send(member)

    def share(self, members: Iterable[WsMember], exclude: WsMember | None) -> tuple[Batch, bool]:
        """Give it to those of ``members`` who can hold a batch, so that more may follow at once.

        Returns:
            The batch, whose ``others`` have not got it yet, and whether anybody holds it.
        """
        buffers: list[SendBuffer] = []
        others: list[WsMember] = []
        for member in members:
            if member is exclude:
                continue
            if type(member) is WsConnection:
                buffer = member._live
                if buffer is not None and buffer.is_open:
                    buffers.append(buffer)
                    continue
            others.append(member)
        batch = Batch(self.encode(), exclude, others)
        batch.share(buffers)
        return batch, bool(buffers)

    def add_to(self, batch: Batch) -> None:
        """Give it to everybody who got ``batch``."""
        batch.add(self.encode())
        self.deliver_to_others(batch)

    def deliver_to_others(self, batch: Batch) -> None:
        """Give it to those who cannot hold ``batch``."""
        if batch.others:
            self.deliver(cast("Sequence[WsMember]", batch.others), None)

    def _send(self, member: WsMember) -> None:
        try:
            if self._decoded is UNSET and isinstance(self.data, Raw):
                self._decoded = decode_data(self.data)
            data = self._decoded if isinstance(self.data, Raw) else self.data
            member.send(self.event, self.path, data, self.params)
        except Exception:
            logger = self._logger or logging.getLogger("wsrooms")
            logger.exception("member %s failed to take a message", member.id)

    def payload(self, exclude: WsMember | str | None) -> bytes:
        """Its form between instances.

        Raises:
            TypeError: The data has no JSON form.
            ValueError: Likewise.
        """
        if self._payload is None:
            data = self.data
            if data is UNSET:
                raw = NO_RAW
            elif isinstance(data, Raw):
                raw = data
            else:
                raw = Raw(self._codec.data(data))
            if exclude is not None and not isinstance(exclude, str):
                exclude = exclude.id
            params = dict(self.params) if self.params else None
            self._payload = _encode_payload(Payload(self.event, self.path, raw, params, exclude))
        return self._payload


class Fanout:
    """The way of broadcasts to rooms here; those to one room in one turn share it.

    Attributes:
        batches: What large rooms were sent this turn; a flusher's own, which that clears
            before it writes.
    """

    __slots__ = ("batches",)

    def __init__(self) -> None:
        self.batches: dict[str, Batch] = {}

    def share_turns_of(self, flusher: Flusher) -> None:
        """Let broadcasts to a large room be shared until ``flusher`` writes."""
        self.batches = flusher.batches

    def deliver(
        self,
        room: str,
        members: Collection[WsMember],
        broadcast: Broadcast,
        exclude: WsMember | str | None,
    ) -> None:
        """Give ``broadcast`` to ``members``, who are all of ``room``."""
        if len(members) < BATCH_FROM:
            broadcast.deliver(members, exclude)
            return
        if isinstance(exclude, str):
            # As a rule the sender is elsewhere; then a burst of many senders can be shared.
            exclude = next((member for member in members if member.id == exclude), None)
        batch = self.batches.get(room)
        if batch is not None and batch.is_open and batch.exclude is exclude:
            broadcast.add_to(batch)
        else:
            batch, held = broadcast.share(members, exclude)
            if held:
                self.batches[room] = batch  # before a member's send() may join or leave
            broadcast.deliver_to_others(batch)

    def members_change(self, room: str) -> None:
        """Somebody joins ``room`` or leaves it: what comes next is not for the same."""
        self.batches.pop(room, None)
