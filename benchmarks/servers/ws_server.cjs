// Node's `ws` alone: a Map of Sets, a loop of send(), one JSON.stringify a broadcast. PORT
const http = require('http');
const { WebSocketServer } = require('ws');

const rooms = new Map();
const server = http.createServer();

new WebSocketServer({ server }).on('connection', (ws) => {
  const mine = new Set();
  ws.on('error', () => {});
  ws.on('message', (raw) => {
    const { event, path, data, id } = JSON.parse(raw.toString());
    if (event === 'join') {
      if (!rooms.has(path)) rooms.set(path, new Set());
      rooms.get(path).add(ws);
      mine.add(path);
    } else if (event === 'message') {
      const params = { room: path.slice(path.lastIndexOf('/') + 1) };
      const text = JSON.stringify({ event, path, params, data });
      for (const member of rooms.get(path)) {
        if (member !== ws && member.readyState === 1) member.send(text);
      }
    }
    if (id !== undefined) ws.send(JSON.stringify({ id, data: data ?? null }));
  });
  ws.on('close', () => mine.forEach((path) => rooms.get(path).delete(ws)));
});

server.listen({ port: +process.argv[2], host: '127.0.0.1', backlog: 4096 });
