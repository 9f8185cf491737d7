"""A chat in rooms, on as many instances as are started."""

from fleet_chat.app import ws

__all__ = ["ws"]
