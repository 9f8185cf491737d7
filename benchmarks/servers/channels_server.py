"""Django Channels (its tutorial's chat consumer) under uvicorn.

python channels_server.py PORT [redis|pubsub REDIS_URL | kafka HOST:PORT]
"""

# The checkers run without the peers' packages, so nothing of them has a type there.
# mypy: disable-error-code="import-not-found, import-untyped, misc"
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false

from __future__ import annotations

import json
import os
import sys
from typing import Any

import django
import uvicorn
from django.conf import settings

LAYERS = {
    "redis": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
    "kafka": "channels_kafka.core.KafkaChannelLayer",
}


def layer(kind: str = "", url: str = "") -> dict[str, Any]:
    """The channel layer, in memory unless another is asked for."""
    if not kind:
        return {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    if kind == "kafka":
        # By itself all processes are one group of Kafka's, of which only one gets a message.
        alone = f"process-{os.getpid()}"
        return {"BACKEND": LAYERS[kind], "CONFIG": {"hosts": [url], "group_id": alone}}
    # By itself redis-py allows 100 connections and 5 s for a reply: here both raise errors.
    hosts = [f"{url}?max_connections=9000&socket_timeout=60"]
    return {"BACKEND": LAYERS[kind], "CONFIG": {"hosts": hosts}}


settings.configure(
    SECRET_KEY="x",
    CHANNEL_LAYERS={"default": layer(*sys.argv[2:])},
    INSTALLED_APPS=["channels"],
    LOGGING_CONFIG=None,
)
django.setup()

# These read the settings as they are imported.
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import re_path  # noqa: E402


class Chat(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        self.mine: set[str] = set()
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        message = json.loads(text_data or bytes_data or b"")
        event, path = message["event"], message["path"]
        group = path.strip("/").replace("/", ".")
        if event == "join":
            self.mine.add(group)
            await self.channel_layer.group_add(group, self.channel_name)
        elif event == "message":
            params = {"room": path.rsplit("/", 1)[1]}
            push = {"event": "message", "path": path, "params": params, "data": message["data"]}
            told = {"type": "chat.message", "text": json.dumps(push), "from": self.channel_name}
            await self.channel_layer.group_send(group, told)
        if "id" in message:
            reply = {"id": message["id"], "data": message.get("data")}
            await self.send(text_data=json.dumps(reply))

    async def chat_message(self, told: dict[str, Any]) -> None:
        if told["from"] != self.channel_name:
            await self.send(text_data=told["text"])

    async def disconnect(self, code: int) -> None:
        for group in self.mine:
            await self.channel_layer.group_discard(group, self.channel_name)


if __name__ == "__main__":
    uvicorn.run(
        ProtocolTypeRouter({"websocket": URLRouter([re_path(r"^.*$", Chat.as_asgi())])}),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        log_level="warning",
        access_log=False,
        backlog=4096,
        lifespan="off",
    )
