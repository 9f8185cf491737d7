"""A small broker for a transport of one's own: python broker.py 7000."""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LIMIT = 16 * 1024 * 1024
subscribers: dict[str, set[asyncio.StreamWriter]] = {}


@contextmanager
def connected(writer: asyncio.StreamWriter) -> Iterator[None]:
    try:
        yield
    except ConnectionError:
        pass  # a client that has gone without a word
    finally:
        for each in subscribers.values():
            each.discard(writer)
        writer.close()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Do what each line says, and answer it with "done"."""
    with connected(writer):
        async for line in reader:
            match json.loads(line):
                case ["subscribe", channel]:
                    subscribers.setdefault(channel, set()).add(writer)
                case ["unsubscribe", channel]:
                    subscribers.get(channel, set()).discard(writer)
                case ["publish", channel, payload]:  # to everybody, the publisher too
                    told = json.dumps(["message", channel, payload]).encode() + b"\n"
                    for each in subscribers.get(channel, ()):
                        each.write(told)
                case ["ping"]:
                    pass
                case _:
                    raise ValueError(line)
            writer.write(b'["done"]\n')
            await writer.drain()


async def main(port: int) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", port, limit=LIMIT)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
