// socket.io over WebSocket. PORT [REDIS_URL classic|sharded] or PORT NATS_URL nats
const http = require('http');
const { Server } = require('socket.io');

async function natsAdapter(url) {
  const { connect } = require('nats');
  const { createAdapter } = require('@mickl/socket.io-nats-adapter');
  return createAdapter(await connect({ servers: url }));
}

async function redisAdapter(url, kind) {
  const { createClient } = require('redis');
  const { createAdapter, createShardedAdapter } = require('@socket.io/redis-adapter');
  const publisher = createClient({ url });
  const subscriber = publisher.duplicate();
  // A client without a listener for errors ends the process when Redis is away.
  publisher.on('error', () => {});
  subscriber.on('error', () => {});
  await Promise.all([publisher.connect(), subscriber.connect()]);
  // "dynamic": a channel for each room, where the classic adapter has all instances hear everything.
  if (kind === 'sharded') return createShardedAdapter(publisher, subscriber, { subscriptionMode: 'dynamic' });
  return createAdapter(publisher, subscriber);
}

async function main([port, url, kind]) {
  const server = http.createServer();
  const io = new Server(server, { transports: ['websocket'] });
  if (url) io.adapter(await (kind === 'nats' ? natsAdapter(url) : redisAdapter(url, kind)));
  io.on('connection', (socket) => {
    socket.on('join', async ({ path }, acknowledge) => {
      await socket.join(path);
      acknowledge(true);
    });
    socket.on('message', ({ path, data }) => {
      const params = { room: path.slice(path.lastIndexOf('/') + 1) };
      socket.to(path).emit('message', { path, params, data });
    });
    socket.on('echo', ({ data }, acknowledge) => acknowledge(data));
  });
  server.listen({ port: +port, host: '127.0.0.1', backlog: 4096 });
}

main(process.argv.slice(2));
