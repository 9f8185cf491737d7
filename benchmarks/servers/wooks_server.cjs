// Wooks event-ws by itself. PORT
const { createWsApp, useWsMessage, useWsRooms } = require('@wooksjs/event-ws');

const ws = createWsApp({ heartbeatInterval: 30000 });

ws.onMessage('join', '/chat/:room', () => {
  useWsRooms().join();
  return true;
});
ws.onMessage('message', '/chat/:room', () => {
  useWsRooms().broadcast('message', useWsMessage().data);
});
ws.onMessage('echo', '/chat/:room', () => useWsMessage().data);

ws.listen(+process.argv[2], '127.0.0.1');
