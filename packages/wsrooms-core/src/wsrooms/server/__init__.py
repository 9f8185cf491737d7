"""The WebSocket server: sockets on one side, sessions on the other.

The only place that knows ``websockets``, whose documented Sans-I/O layer does
the framing. No task per connection: an ``asyncio.Protocol`` of our own feeds it.

==============  ==============================================================
``listener``    all connections of one instance, and their common end
``protocol``    one socket: frames in, flow control both ways, closing
``upgrade``     the first request: WebSocket, plain HTTP or refused
``heartbeat``   pings for all from one timer
``sockets``     what to listen on
``settings``    how; the one that is loaded before a server starts
==============  ==============================================================
"""
