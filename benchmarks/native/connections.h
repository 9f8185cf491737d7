// The connections of wsload: sockets and handshakes, frames out and in. One thread, epoll.
#ifndef CONNECTIONS_H
#define CONNECTIONS_H

#include "frames.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define STANDARD_INPUT UINT32_MAX

enum mode { FAN, RPC, IDLE, CROWD };
enum state { CONNECTING, HANDSHAKE, ENGINE_OPEN, ENGINE_CONNECT, JOINING, READY, DEAD };

typedef struct {
    int fd, port, room;
    enum state state;
    u8 sender, wants_out, leaving;
    u64 sequence;                     // fan: of the last message received; rpc, crowd: of the last reply
    u64 requests;                     // rpc, crowd: sent
    u64 asked_at;                     // crowd: when its last join was
    int next_room, rooms_left;        // crowd: that it joins in turn
    char *in, *fragments, *unsent;    // part of a frame; of a message; of what was written
    int in_length, in_room, fragments_length, unsent_length, unsent_room;
} conn;

static int socketio, centrifuge;
static const char *path = "/", *header = "";

static enum mode mode;
static conn *all;
static int poller, ready, failed;
static int answered;        // replies of one read
static u64 read_at;         // when it was
static u64 closed, left;    // connections that ended after they had been ready: against, and as they wished
static int commands_wait;   // standard input has something to read

// What a program makes of all this: a connection is open, a message is whole, a read has been taken.
static void send_join(conn *c);
static void hear(conn *c, const char *message, int n);
static void after_read(conn *c);

static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("{\"error\":\"");
    vprintf(format, arguments);
    printf("\"}\n");
    exit(1);
}

// ---- sockets ----

static void watch(conn *c, int operation, int for_out) {
    struct epoll_event e = {.events = EPOLLIN | (for_out ? EPOLLOUT : 0), .data.u32 = c - all};
    epoll_ctl(poller, operation, c->fd, &e);
    c->wants_out = for_out;
}

static void dead(conn *c) {
    if (c->state == DEAD) return;
    if (c->state < READY) failed++;
    else if (c->leaving) left++;
    else closed++;
    c->state = DEAD;
    close(c->fd);
}

static void write_bytes(conn *c, const char *bytes, int n) {
    if (c->state == DEAD) return;
    if (!c->unsent_length) {
        int written = write(c->fd, bytes, n);
        if (written == n) return;
        if (written < 0 && errno != EAGAIN) {
            dead(c);
            return;
        }
        if (written > 0) bytes += written, n -= written;
    }
    if (c->unsent_length + n > c->unsent_room) {
        c->unsent_room = (c->unsent_length + n) * 2;
        c->unsent = realloc(c->unsent, c->unsent_room);
    }
    memcpy(c->unsent + c->unsent_length, bytes, n);
    c->unsent_length += n;
    if (!c->wants_out) watch(c, EPOLL_CTL_MOD, 1);
}

static void write_frame(conn *c, int opcode, const char *payload, int n) {
    out_length = 0;
    append_frame(opcode, payload, n);
    write_bytes(c, out, out_length);
}

static void open_socket(conn *c) {
    int one = 1;
    struct linger reset_at_close = {1, 0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(c->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset_at_close, sizeof reset_at_close);
    // Each address has its own ports, and the kernel's search for a free one is slow where most are taken.
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + (c - all) / 4096)};
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(c->fd, (void *)&own, sizeof own)) die("bind: %s", strerror(errno));
    c->state = CONNECTING;
    if (connect(c->fd, (void *)&address, sizeof address) && errno != EINPROGRESS) die("connect: %s", strerror(errno));
    watch(c, EPOLL_CTL_ADD, 1);
}

// ---- frames and reads ----

static void hear_documents(conn *c, const char *message, int n) {
    const char *end;
    while (centrifuge && (end = memchr(message, '\n', n))) {
        if (end > message) hear(c, message, end - message);
        n -= end + 1 - message;
        message = end + 1;
    }
    if (n || !centrifuge) hear(c, message, n);
}

static void hear_fragment(conn *c, const char *payload, int n, int last) {
    c->fragments = realloc(c->fragments, c->fragments_length + n + 1);
    memcpy(c->fragments + c->fragments_length, payload, n);
    c->fragments_length += n;
    if (!last) return;
    hear_documents(c, c->fragments, c->fragments_length);
    c->fragments_length = 0;
}

// Take whole frames; returns how many bytes they were.
static int take_frames(conn *c, char *bytes, int n) {
    int at = 0;
    while (c->state != DEAD && n - at >= 2) {
        u8 *head = (u8 *)bytes + at;
        u64 length = head[1] & 127;
        int head_length = length == 126 ? 4 : length == 127 ? 10 : 2;
        if (n - at < head_length) break;
        if (head_length > 2) {
            length = 0;
            for (int i = 2; i < head_length; i++) length = length << 8 | head[i];
        }
        if ((u64)(n - at) < head_length + length) break;
        char *payload = bytes + at + head_length;
        int opcode = head[0] & 15, last = head[0] & 0x80;
        at += head_length + length;
        if (opcode == 9) write_frame(c, 10, payload, length);
        else if (opcode == 8 && c->leaving) continue;  // who leaves waits for the server to close the socket
        else if (opcode == 8) dead(c);
        else if (opcode != 10 && opcode && last) hear_documents(c, payload, length);
        else if (opcode != 10) hear_fragment(c, payload, length, last);
    }
    return at;
}

// The response to the handshake; returns its length, 0 if it is not whole.
static int take_handshake(conn *c, char *bytes, int n) {
    char *end = memmem(bytes, n, "\r\n\r\n", 4);
    if (!end) return 0;
    if (n < 12 || memcmp(bytes + 9, "101", 3)) {
        dead(c);
        return 0;
    }
    if (socketio) c->state = ENGINE_OPEN;
    else send_join(c);
    return end + 4 - bytes;
}

static void on_readable(conn *c) {
    static char bytes[1 << 20];
    int kept = c->in_length;
    if (kept) memcpy(bytes, c->in, kept);
    int got = read(c->fd, bytes + kept, sizeof bytes - kept);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        dead(c);
        return;
    }
    read_at = now_ns();
    int n = kept + got, taken = 0;
    c->in_length = answered = 0;
    if (c->state == HANDSHAKE) taken = take_handshake(c, bytes, n);
    if (c->state != HANDSHAKE) taken += take_frames(c, bytes + taken, n - taken);
    if (c->state == READY) after_read(c);
    if (c->state == DEAD || taken == n) return;
    c->in_length = n - taken;
    if (c->in_length > c->in_room) {
        c->in_room = c->in_length * 2;
        c->in = realloc(c->in, c->in_room);
    }
    memcpy(c->in, bytes + taken, c->in_length);
}

static void on_connected(conn *c) {
    char request[2048];
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        dead(c);
        return;
    }
    c->state = HANDSHAKE;
    watch(c, EPOLL_CTL_MOD, 0);
    int n = snprintf(request, sizeof request,
                     "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s\r\n",
                     path, header, *header ? "\r\n" : "");
    write_bytes(c, request, n);
}

static void on_writable(conn *c) {
    if (c->unsent_length) {
        int written = write(c->fd, c->unsent, c->unsent_length);
        if (written < 0) {
            if (errno != EAGAIN) dead(c);
            return;
        }
        memmove(c->unsent, c->unsent + written, c->unsent_length - written);
        c->unsent_length -= written;
    }
    if (!c->unsent_length && c->wants_out) watch(c, EPOLL_CTL_MOD, 0);
}

// Whatever the sockets bring within this time.
static void turn(i64 ns) {
    static struct epoll_event events[2048];
    struct timespec wait = {ns > 0 ? ns / SECOND : 0, ns > 0 ? ns % SECOND : 0};
    int count = epoll_pwait2(poller, events, 2048, &wait, 0);
    for (int i = 0; i < count; i++) {
        if (events[i].data.u32 == STANDARD_INPUT) {
            commands_wait = 1;
            continue;
        }
        conn *c = all + events[i].data.u32;
        if (c->state == DEAD) continue;
        if (c->state == CONNECTING) {
            on_connected(c);
            continue;
        }
        if (events[i].events & EPOLLOUT) on_writable(c);
        if (c->state != DEAD && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c);
    }
}

static void turn_until(u64 end) {
    while (now_ns() < end) turn(SECOND / 50);
}

static void watch_standard_input(void) {
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = STANDARD_INPUT};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, 0, &e)) die("standard input must be a pipe");
}

// The next line of standard input; connections live on meanwhile. NULL at its end.
static char *next_line(void) {
    static char line[256];
    while (!commands_wait) turn(SECOND / 50);
    commands_wait = 0;
    return fgets(line, sizeof line, stdin);
}

#endif
