// socket.io over WebSocket. PORT
const http = require('http');
const { Server } = require('socket.io');

const server = http.createServer();

new Server(server, { transports: ['websocket'] }).on('connection', (socket) => {
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

server.listen({ port: +process.argv[2], host: '127.0.0.1', backlog: 4096 });
