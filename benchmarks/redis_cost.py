"""What the Redis transport costs: ``python benchmarks/redis_cost.py redis://localhost:6379``.

The publisher and the subscriber are two processes; the third one measured is the server, by
its own account, so nothing else should use it meanwhile. Shown are processor seconds, so that
a busy machine changes little, and what memory and connections stay.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import time
import tracemalloc

from redis.asyncio import Redis

from wsrooms_redis import RedisTransport

PAYLOAD = '{"event":"message","path":"/chat/general","data":"%s"}' % ("x" * 150)
MESSAGES = 20_000
ROOMS = 10_000
BURSTS = (1, 20, 100)


async def subscriber(url: str) -> None:
    """Hear what is published on "cost", and tell the processor time that it took."""
    transport = RedisTransport(url)
    await transport.start()
    heard = 0
    done = asyncio.Event()

    def handler(payload: str) -> None:
        nonlocal heard
        heard += 1
        if heard % MESSAGES == 0:
            done.set()

    await transport.subscribe("cost", handler)
    for _ in BURSTS:
        before = time.process_time()
        print("ready", flush=True)
        await done.wait()
        done.clear()
        print(time.process_time() - before, flush=True)
    await transport.close()


async def messages(url: str, server: Redis) -> None:
    """Processor time for 1,000 messages to one other instance, by how many go at a time."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, url, "--subscriber"), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    transport = RedisTransport(url)
    await transport.start()
    print(f"\n{len(PAYLOAD)} bytes to one other instance; milliseconds of CPU for 1,000 messages\n")
    print("| at a time | publisher | subscriber | server |")
    print("|---|---|---|---|")
    for burst in BURSTS:
        assert await child.stdout.readline() == b"ready\n"
        busy, used = await server_cpu(server), time.process_time()
        for _ in range(MESSAGES // burst):
            for _ in range(burst - 1):
                transport.publish("cost", PAYLOAD)
            await transport.publish("cost", PAYLOAD)
        used = time.process_time() - used
        heard = float(await child.stdout.readline())
        busy = await server_cpu(server) - busy
        figures = (f"{1e6 * each / MESSAGES:.1f}" for each in (used, heard, busy))
        print(f"| {burst} | {' | '.join(figures)} |")
    await transport.close()
    await child.wait()


async def rooms(url: str, server: Redis) -> None:
    """What 10,000 rooms and their restoration cost."""
    transport = RedisTransport(url)
    await transport.start()
    clients = [each for each in await server.client_list() if each["name"] == "wsrooms"]
    print(f"\nconnections of one instance: {len(clients)}")
    up = asyncio.Event()
    transport.on_state(lambda state, error: up.set() if state == "up" else None)
    there = await server_memory(server)
    began, used = time.perf_counter(), time.process_time()
    await subscribed(transport, "a")
    took, used = time.perf_counter() - began, time.process_time() - used
    there = await server_memory(server) - there
    print(f"{ROOMS:,} rooms subscribed in {took:.2f} s, with {used:.2f} s of CPU")
    tracemalloc.start()
    await subscribed(transport, "b")
    gc.collect()
    here, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"memory of a room: {here / ROOMS:,.0f} bytes here, {there / ROOMS:,.0f} at the server")
    for n in range(ROOMS):
        transport.unsubscribe(f"ws:room:/chat/b/{n}")
    while len(await server.pubsub_channels("*")) > ROOMS + 1:  # noqa: ASYNC110 - the server's
        await asyncio.sleep(0.1)
    began, used = time.perf_counter(), time.process_time()
    up.clear()
    await server.client_kill_filter(_type="pubsub")
    await up.wait()
    took, used = time.perf_counter() - began, time.process_time() - used
    print(f"restored {took:.2f} s after a lost connection, with {used:.2f} s of CPU")
    await transport.close()


async def subscribed(transport: RedisTransport, name: str) -> None:
    """Subscribe 10,000 rooms."""
    rooms = (f"ws:room:/chat/{name}/{n}" for n in range(ROOMS))
    for receipt in [transport.subscribe(room, print) for room in rooms]:
        await receipt


async def idle(url: str) -> None:
    """What an instance costs that does nothing: pings and probes."""
    transport = RedisTransport(url)
    await transport.start()
    used = time.process_time()
    await asyncio.sleep(10)
    used = time.process_time() - used
    print(f"an idle instance: {100 * used:.2f} ms of CPU a second, for pings and probes")
    await transport.close()


async def server_cpu(server: Redis) -> float:
    """Seconds that the server has used."""
    cpu = await server.info("cpu")
    return float(cpu["used_cpu_sys"]) + float(cpu["used_cpu_user"])


async def server_memory(server: Redis) -> int:
    """Bytes that the server holds."""
    return int((await server.info("memory"))["used_memory"])


async def main(url: str) -> None:
    async with Redis.from_url(url) as server:
        told = await server.info("server")
        print(f"server {told.get('valkey_version', told['redis_version'])}, {os.cpu_count()} cores")
        await messages(url, server)
        await rooms(url, server)
        await idle(url)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--subscriber", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    asyncio.run(subscriber(given.url) if given.subscriber else main(given.url))
