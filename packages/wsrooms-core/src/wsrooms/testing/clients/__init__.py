"""Clients of an app without a port: the real server's frames, over a socket in memory.

==============  ==============================================================
``client``      what a test uses
``connecting``  one that is about to connect: for ``await`` and for ``async with``
``line``        what it is behind its methods: one end that speaks WebSocket
``pipes``       the socket: two transports of asyncio, connected to each other
``quiet``       when nothing more will come
==============  ==============================================================
"""
