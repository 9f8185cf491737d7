"""Rooms that may span instances: local membership, its subscriptions, and broadcasts.

The hub knows who is in a room here. This module adds what that means beyond
this instance: the first member subscribes the room's channel and the last one
ends that; a join is confirmed once the transport has it, and undone if it never
does; a broadcast is encoded once, given to the local members, then published.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterable
from contextvars import Context
from functools import partial

from msgspec import UNSET

from wsrooms.broadcast import Broadcast, Fanout, ForeignPayload, checked_params, read_payload
from wsrooms.connection import WsConnection, WsMember
from wsrooms.errors import (
    ConnectionGone,
    PayloadTooLarge,
    TooManyRooms,
    TransportError,
    TransportUnavailable,
)
from wsrooms.hub import Hub
from wsrooms.joins import PendingJoins
from wsrooms.receipt import FINISHED, Receipt
from wsrooms.recent import Recent
from wsrooms.transports.buslink import BusLink
from wsrooms.transports.logs import SeldomLog
from wsrooms.transports.protocols import (
    SERVER_CHANNEL,
    Gap,
    TransportState,
    WsBroadcastTransport,
    room_channel,
    room_of,
)
from wsrooms.wire import NO_RAW, Codec, JsonCodec, Params, check_room

__all__ = ["Rooms"]

WISH_AGAIN = 1.0
"""Seconds after which a channel that was refused, and still has members, is asked for again."""

GONE_SENDERS = 1000
"""Members that have gone whose echoes are still known, where the transport may echo."""


class Rooms:
    """Rooms of this instance, joined with those of others by a transport.

    Members are connections of an app, or what ``WsRoomManager`` is given. Without a
    transport, or with one whose methods are sync, no event loop is needed.
    """

    def __init__(
        self,
        transport: WsBroadcastTransport | None = None,
        *,
        join_timeout: float = 8.0,
        rooms_per_member: int | None = None,
        room_name_bytes: int = 1024,
        codec: Codec | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        """Keep rooms.

        Args:
            transport: What joins them with other instances.
            join_timeout: Seconds within which the transport must confirm a join.
            rooms_per_member: The most rooms one member may be in; None is no limit.
            room_name_bytes: The longest room name, in bytes of UTF-8.
            codec: How messages become frames; JSON by default.
            logger: By default ``logging.getLogger("wsrooms")``.
        """
        self._hub: Hub[WsMember] = Hub()
        self._codec = JsonCodec() if codec is None else codec
        self._join_timeout = join_timeout
        self._rooms_per_member = rooms_per_member
        self._room_name_bytes = room_name_bytes
        self._logger = logging.getLogger("wsrooms") if logger is None else logger
        self._pending = PendingJoins()
        self.fanout: Fanout = Fanout()  # of what is sent to a room
        self.everybody: Callable[[], Collection[WsMember]] | None = None
        self._server_channel = FINISHED
        self._context = Context()
        self._log = SeldomLog(self._logger)
        self._gone: Recent[str] = Recent(GONE_SENDERS)
        self._again: dict[str, asyncio.TimerHandle] = {}  # when refused channels are wished again
        self._lapsed: set[str] = set()  # channels of members that hear no other instance
        self.foreign: int = 0
        self.echoes: int = 0
        self.gaps: int = 0
        self.receipts_failed: int = 0
        self.joins_failed: int = 0
        self.published: int = 0
        self.received: int = 0
        self.on_pending: Callable[[Receipt], None] | None = None
        """Called with the receipt of each join that is not confirmed at once."""
        self.on_gap: Callable[[Gap], None] | None = None
        """Told of messages that were lost on the way here."""
        self.on_state: Callable[[TransportState, str | None], None] | None = None
        """Told when the transport comes up or goes down."""
        self.is_local: Callable[[str], bool] = lambda _: False
        """Tells whether a connection id is this instance's; set by the app."""
        self.link: BusLink | None = None
        if transport is not None:
            self.link = BusLink(transport, self, confirm_timeout=join_timeout, logger=self._logger)

    # Membership

    def join(self, connection: WsMember, room: str) -> Receipt:
        """Put ``connection`` in ``room``: here at once, everywhere when the receipt is done.

        What is not confirmed within ``join_timeout`` is undone, and the receipt
        fails with ``TransportUnavailable``. Joining twice changes nothing.

        Raises:
            InvalidRoom: The name is empty, too long or not encodable.
            TooManyRooms: The member is at its limit.
            ConnectionGone: The connection has closed.
        """
        self.check_name(room)
        if isinstance(connection, WsConnection) and connection.closed:
            raise ConnectionGone(connection.id)
        limit = self._rooms_per_member
        if added := room not in connection.rooms:
            if limit is not None and len(connection.rooms) >= limit:
                raise TooManyRooms(limit)
            self._hub.add(room, connection)
            self.fanout.members_change(room)
        elif self._pending.confirmed:  # one more claim: no cancel of the other undoes it
            self._pending.confirmed.pop((room, connection), None)
        link = self.link
        if link is None:
            return FINISHED
        channel = room_channel(room)
        if link.ready(channel):
            return FINISHED
        return self._join_unconfirmed(link, connection, room, channel, added=added)

    def _join_unconfirmed(
        self, link: BusLink, connection: WsMember, room: str, channel: str, *, added: bool
    ) -> Receipt:
        pending = self._pending.open(room, connection, added=added)
        receipt = Receipt(
            on_cancel=lambda cancelled: self._cancel(connection, room, cancelled),
            on_unseen=partial(self.failed_unseen, "a join"),
        )
        pending.receipts.append(receipt)
        if link.overdue:
            down = TransportUnavailable("the bus is down; the join was undone")
            self._fail(connection, room, down)
        else:
            self._wish(channel)
        if not receipt.done and pending.timer is None:
            # Even a cancelled timer would keep the message's context until it is due.
            self._pending.loop = loop = asyncio.get_running_loop()
            pending.timer = loop.call_at(
                link.deadline, self._expire, connection, room, context=self._context
            )
        if receipt.done and receipt.error is None:
            return FINISHED
        if self.on_pending is not None:
            self.on_pending(receipt)
        return receipt

    def leave(self, connection: WsMember, room: str) -> Receipt:
        """Take ``connection`` out of ``room`` at once; leaving twice changes nothing.

        A join that waits for its confirmation is over then, without an error.
        """
        self._pending.settle(room, connection, None)
        self._discard(connection, room)
        return FINISHED

    def abandon_joins(self, connection: WsMember) -> None:
        """``connection`` has closed: its joins that wait fail now; it leaves its rooms later."""
        if not self._pending:
            return
        for room in list(connection.rooms):
            self._pending.settle(room, connection, ConnectionGone(connection.id))

    def leave_all(self, connection: WsMember) -> Receipt:
        """Take ``connection`` out of all its rooms: it is gone."""
        for room in list(connection.rooms):
            self._pending.settle(room, connection, ConnectionGone(connection.id))
            self._discard(connection, room)
        if self.link is not None and self.link.may_echo:
            self._gone.add(connection.id)
        return FINISHED

    def connections(self, room: str) -> frozenset[WsMember]:
        """Who is in ``room`` on this instance: a snapshot."""
        return frozenset(self._hub.members(room))

    def check_name(self, room: str) -> None:
        """Accept ``room`` as a name; safe on any thread.

        Raises:
            InvalidRoom: It is none.
        """
        check_room(room, self._room_name_bytes)

    def _discard(self, connection: WsMember, room: str) -> None:
        self.fanout.members_change(room)
        if self._hub.discard(room, connection) and self.link is not None:
            self._lapsed.discard(channel := room_channel(room))
            self.link.unsubscribe(channel)

    def _fail(self, connection: WsMember, room: str, error: Exception) -> None:
        """A pending join has failed: undo it."""
        self.joins_failed += 1
        if self._pending.settle(room, connection, error):
            self._discard(connection, room)

    def _expire(self, connection: WsMember, room: str) -> None:
        told = f"joining {room!r} was not confirmed within {self._join_timeout:g} s and is undone"
        self._fail(connection, room, TransportUnavailable(told))

    def _cancel(self, connection: WsMember, room: str, receipt: Receipt) -> None:
        """Whoever awaited ``receipt`` was cancelled: undo the join, unless others claim it too."""
        if (home := self._pending.loop) and home is not asyncio.get_running_loop():
            with contextlib.suppress(RuntimeError):  # it has closed
                home.call_soon_threadsafe(self._cancel, connection, room, receipt)
            return
        if (joins := self._pending).unclaim(room, connection, receipt):
            self._discard(connection, room)
        if (pending := joins.get(room, connection)) is None or receipt not in pending.receipts:
            return
        pending.receipts.remove(receipt)
        receipt.settle(TransportUnavailable(f"joining {room!r} was cancelled and is undone"))
        receipt._take_error()  # only a second awaiter is left to be told
        if not pending.receipts and self._pending.settle(room, connection, None):
            self._discard(connection, room)

    # Broadcasts

    def broadcast(
        self,
        room: str,
        event: str,
        path: str,
        data: object = UNSET,
        params: Params | None = None,
        *,
        exclude: WsMember | str | None = None,
        local: bool = False,
    ) -> Receipt:
        """As ``WsRoomManager.broadcast``, which documents it."""
        broadcast = Broadcast(self._codec, event, path, data, checked_params(params), self._logger)
        return self.broadcast_in(room, broadcast, exclude=exclude, local=local)

    def broadcast_in(
        self,
        room: str,
        broadcast: Broadcast,
        *,
        exclude: WsMember | str | None = None,
        local: bool = False,
    ) -> Receipt:
        """As :meth:`broadcast`, for a message that exists already."""
        if type(room) is not str or room not in self._hub:
            self.check_name(room)
        link = self.link
        if link is not None and not local:
            self.check(broadcast, exclude, local=False)  # before anybody gets it
        self.fanout.deliver(room, self._hub.members(room), broadcast, exclude)
        if link is None or local:
            return FINISHED
        return self._publish(link, room_channel(room), broadcast, exclude)

    def broadcast_all(self, broadcast: Broadcast, *, local: bool = False) -> Receipt:
        """Send to every client of every instance; needs :meth:`serve_everybody`."""
        self.check(broadcast, None, local=local)  # before anybody gets it
        broadcast.deliver(self._all(), None)
        link = self.link
        if link is None or local:
            return FINISHED
        return self._publish(link, SERVER_CHANNEL, broadcast, None)

    def check(self, broadcast: Broadcast, exclude: WsMember | str | None, *, local: bool) -> None:
        """Raise what sending ``broadcast`` would raise; safe on any thread.

        Raises:
            TypeError: The data has no JSON form.
            ValueError: Likewise.
            PayloadTooLarge: Over the transport's limit.
        """
        broadcast.encode()
        link = self.link
        if link is None or local:
            return
        limit = link.max_payload
        payload = broadcast.payload(exclude)
        if limit is not None and len(payload) > limit:
            raise PayloadTooLarge(len(payload), limit)

    async def serve_everybody(
        self, everybody: Callable[[], Collection[WsMember]], timeout: float
    ) -> None:
        """Hear the server-wide channel, for all that ``everybody`` gives.

        Returns when it is confirmed; at once while the transport is down. Later it is a gap.

        Raises:
            TransportError: It was refused, or not confirmed within ``timeout`` seconds.
        """
        self.everybody = everybody
        if (link := self.link) is None:
            return
        self._server_channel = Receipt()
        self._wish(SERVER_CHANNEL)
        if not link.live:
            self._lapsed.add(SERVER_CHANNEL)
            return
        try:
            async with asyncio.timeout(timeout):
                await self._server_channel
        except TimeoutError:
            self._lapsed.add(SERVER_CHANNEL)
            raise TransportUnavailable(
                f"the server-wide channel was not confirmed within {timeout:g} s"
            ) from None

    def _all(self) -> Collection[WsMember]:
        return () if self.everybody is None else self.everybody()

    def _publish(
        self, link: BusLink, channel: str, broadcast: Broadcast, exclude: WsMember | str | None
    ) -> Receipt:
        self.published += 1
        return link.publish(channel, broadcast.payload(exclude).decode())

    # What the transport tells (LinkEvents)

    def _on_payload(self, channel: str, payload: str) -> None:
        room = room_of(channel)
        members = self._all() if room is None else self._hub.members(room)
        try:
            message = read_payload(payload)
        except ForeignPayload as error:
            self.foreign += 1
            told = "dropped a payload on %s that is no message: %s"
            self._log.error("foreign", told, channel, error)
            return
        if (exclude := message.excludeId) is not None and self._is_own_echo(exclude, members):
            self.echoes += 1
            self._log.error(
                "echo",
                "the bus of %r brings our own messages back (seen on %s): they were dropped where "
                "they could be told; wrap the transport in wsrooms.tagged() on every instance",
                None if self.link is None else self.link.transport,
                channel,
            )
            return
        self.received += 1
        data = UNSET if message.data is NO_RAW else message.data
        broadcast = Broadcast(
            self._codec, message.event, message.path, data, message.params, self._logger
        )
        try:
            if room is None:
                broadcast.deliver(members, exclude)
            else:
                self.fanout.deliver(room, members, broadcast, exclude)
        except Exception:
            self._logger.exception("a message of another instance could not be delivered")

    def _is_own_echo(self, exclude_id: str, members: Iterable[WsMember]) -> bool:
        """Whether the transport handed us what we published.

        The sender of a message is a connection of the instance that published it, so an
        ``excludeId`` of ours says that it was us. With ``skips_own`` it does not come to that.
        """
        if self.link is None or not self.link.may_echo:
            return False
        return (
            self.is_local(exclude_id)
            or exclude_id in self._gone
            or any(member.id == exclude_id for member in members)
        )

    def subscribed(self, channel: str) -> None:
        """The transport confirmed ``channel``: its joins are done."""
        if channel in self._lapsed:
            self._lapsed.discard(channel)
            self.gap(Gap(None, None, None))
        if (room := room_of(channel)) is None:
            self._server_channel.settle()
        elif fresh := (joins := self._pending).confirm(room):
            asyncio.get_running_loop().call_soon(joins.told, fresh, context=self._context)

    def lapsed(self, channel: str) -> None:
        """Whoever had been confirmed hears nothing: to be told when there is a subscription."""
        room, joins = room_of(channel), self._pending
        new = (
            joins.include(room, self._hub.members(room)) if room else not self._server_channel.done
        )
        if not new:
            self._lapsed.add(channel)

    def refused(self, channel: str, error: TransportError) -> None:
        """The transport will not have ``channel``: its joins are undone."""
        room = room_of(channel)
        if room is None:
            self._log.error(channel, "no server-wide broadcasts of other instances: %s", error)
            self._lapsed.add(channel)
            self._server_channel.settle(error)
            self._wish_again(channel)
            return
        for member in self._pending.members(room):
            self._fail(member, room, error)
        if room in self._hub:  # those whose joins had been confirmed before
            self.lapsed(channel)
            self._log.error("a room", "members of %r hear no other instance: %s", room, error)
            self._wish_again(channel)

    def _wish_again(self, channel: str) -> None:
        with contextlib.suppress(RuntimeError):  # no loop: the next join asks again
            self._again[channel] = asyncio.get_running_loop().call_later(
                WISH_AGAIN, self._wish, channel, context=self._context
            )

    def _wish(self, channel: str) -> None:
        if (again := self._again.pop(channel, None)) is not None:
            again.cancel()  # or each refused join would begin a chain of its own
        room = room_of(channel)
        if self.link is not None and (room is None or room in self._hub):
            self.link.subscribe(channel, lambda payload: self._on_payload(channel, payload))

    def gap(self, gap: Gap) -> None:
        """Messages of other instances were lost on the way here."""
        self.gaps += 1
        if self.on_gap is not None:
            self.on_gap(gap)

    def state_changed(self, state: TransportState, error: str | None) -> None:
        """The transport came up or went down."""
        if self.on_state is not None:
            self.on_state(state, error)

    def publish_failed(self, error: Exception) -> None:
        """A publish failed and nobody awaited its receipt."""
        self.failed_unseen("a publish", error)

    def failed_unseen(self, what: str, error: Exception, where: str = "") -> None:
        """``what`` failed and there is nobody to tell: count it, and log it now and then.

        Args:
            what: A kind of call, one of a few: at most one line of it a minute.
            error: Why.
            where: What it was about, for the line.
        """
        if isinstance(error, ConnectionGone):  # nobody is left to miss it
            return
        self.receipts_failed += 1
        about = f" ({where})" if where else ""
        self._log.error(what, "%s failed and nobody awaited it: %s%s", what, error, about)

    # Figures

    def stats(self) -> dict[str, int]:
        """Rooms, memberships and what passed between instances."""
        link = {} if self.link is None else self.link.stats()
        return {
            "outbox": 0,
            "outbox_bytes": 0,
            "duplicates": 0,
            "resent": 0,
            "reconnects": 0,
            **link,
            "rooms": len(self._hub),
            "memberships": self._hub.memberships,
            "joins_pending": len(self._pending),
            "joins_failed": self.joins_failed,
            "receipts_failed": self.receipts_failed,
            "published": self.published,
            "received": self.received,
            "foreign": self.foreign + link.get("foreign", 0),
            "echoes": self.echoes,
            "gaps": self.gaps,
        }
