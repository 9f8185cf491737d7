"""The message that a handler is running for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Raw

from wsrooms.errors import WsError
from wsrooms.inbound import NO_DATA, UNDECODABLE, Inbound, decode_data, decode_raw, plain_id
from wsrooms.wire import encode_data

if TYPE_CHECKING:
    from wsrooms.datatypes import Validator

__all__ = ["WsMessage", "typed"]

T = TypeVar("T")


class WsMessage(Generic[T]):
    """One message of the client, as its handler sees it.

    ``data`` is decoded when it is first asked for; a handler that passes
    ``data_raw`` on never pays for it. A handler that annotates its parameter
    ``WsMessage[Order]`` gets ``data`` validated as an ``Order`` before it runs.

    Attributes:
        event: The event, as sent.
        path: The path, as sent: with the query, and still percent-encoded.
    """

    __slots__ = ("_data", "_inbound", "_plain", "event", "path")

    event: str
    path: str

    def __init__(self, inbound: Inbound) -> None:
        self._inbound = inbound
        self._data: Any = UNSET
        self._plain: Any = UNSET
        self.event = inbound.event
        self.path = inbound.path

    @property
    def has_data(self) -> bool:
        """Whether the message carries data; an explicit null is data."""
        return self._inbound.data is not UNSET

    @property
    def data(self) -> T:
        """What was sent, validated where a type was declared; None where nothing was.

        Raises:
            WsError: 400, the data cannot be decoded (out of range, nested too deep).
        """
        data: T
        if self._data is not UNSET:
            data = self._data
        elif self._plain is UNSET and type(self._inbound.data) is Raw:
            try:  # what is nearly always so, without a call to _plain_data()
                data = self._plain = decode_raw(self._inbound.data)
            except (ValueError, RecursionError):
                data = self._plain_data()
        else:
            data = self._plain_data()
        return data

    @property
    def data_raw(self) -> Raw:
        """The data as JSON, to pass on without decoding.

        Where nothing was sent it is ``null``, and a send or broadcast of just that
        sends no data either.

        Raises:
            WsError: 400, the data is nested too deep.
            TypeError: A ``message_parser`` made it of what JSON cannot carry.
            ValueError: Likewise.
        """
        data = self._inbound.data
        if isinstance(data, Raw):
            return data
        if data is UNSET:
            return NO_DATA
        if data is UNDECODABLE:
            raise WsError(400, "Undecodable data: nested too deep")
        return Raw(encode_data(data))

    @property
    def raw(self) -> bytes:
        """The whole frame's payload, as received."""
        return self._inbound.raw

    @property
    def id(self) -> str | int | float | None:
        """What the reply carries; None where the client wants no reply."""
        id = self._inbound.id
        return None if id is UNSET else plain_id(id)

    def _plain_data(self) -> Any:
        """The data without a type: dicts, lists and scalars.

        Raises:
            WsError: 400, the data cannot be decoded.
        """
        if self._plain is UNSET:
            data = self._inbound.data
            if data is UNSET:
                self._plain = None
            elif type(data) is Raw or data is UNDECODABLE:
                try:
                    self._plain = decode_data(data)
                except ValueError as error:
                    raise WsError(400, f"Undecodable data: {error}") from None
            else:
                self._plain = data
        return self._plain

    def _validate(self, validator: Validator[T]) -> T:
        """Make the data what the validator's type says, and let ``data`` be that from now on.

        Raises:
            WsError: 422 if it does not fit the type, 400 if it cannot be decoded.
        """
        data = self._inbound.data
        try:
            if isinstance(data, Raw):
                value = validator.decode(data)
            elif data is UNSET:
                value = validator.decode(b"null")
            elif data is UNDECODABLE:
                raise WsError(400, "Undecodable data: nested too deep")
            else:
                value = validator.convert(data)
        except msgspec.ValidationError as error:
            self._plain_data()  # what no type could decode is no fault of this type
            raise WsError(422, str(error)) from None
        except RecursionError:
            raise WsError(400, "Undecodable data: nested too deep") from None
        self._data = value
        return value

    def __repr__(self) -> str:
        return f"<WsMessage {self.event} {self.path}>"


def typed(message: WsMessage[Any], validator: Validator[T]) -> WsMessage[T]:
    """A view of ``message`` whose data is of the validator's type.

    The message itself keeps its own type, so two parts of a program may each
    ask for theirs.

    Raises:
        WsError: 422 or 400.
    """
    view: WsMessage[T] = WsMessage(message._inbound)
    view._validate(validator)
    return view
