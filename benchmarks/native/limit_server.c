// limit_server: the physical limit. A single-threaded C room server that does no more than it must.
//
//   limit_server PORT send      one send() a delivery, at once: what any server that does not coalesce pays
//   limit_server PORT coalesce  all the messages of one read() become one send() a receiver
//
// It knows just this benchmark's messages, {"event":"join"|"message"|"echo","path":"/chat/X","data":...,"id":N}: it
// finds the fields by text search and echoes data as it is. A short send() is finished with a blocking poll.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CONNS 65536
#define MAX_ROOMS 4096
#define SLOTS 8192

typedef unsigned char u8;

typedef struct {
    char name[64];
    int members, capacity;
    int *fds;
    char *frames;  // that its members are still to be sent
    int length, size;
} room;

typedef struct {
    int upgraded;
    char *kept;  // the beginning of a frame
    int length, size;
} conn;

static conn conns[MAX_CONNS];
static room all_rooms[MAX_ROOMS];
static int room_count, coalesce;
static room *unflushed;
static char replies[4 << 20], scratch[2 << 20];
static int replies_length;

static room *room_named(const char *name, int n) {
    static int slots[SLOTS];
    unsigned at = 5381;
    if (n > 63) n = 63;
    for (int i = 0; i < n; i++) at = at * 33 + (u8)name[i];
    for (at %= SLOTS; slots[at]; at = (at + 1) % SLOTS) {
        room *r = all_rooms + slots[at] - 1;
        if (!strncmp(r->name, name, n) && !r->name[n]) return r;
    }
    if (room_count == MAX_ROOMS) exit(2);
    room *r = all_rooms + room_count++;
    memcpy(r->name, name, n);
    slots[at] = room_count;
    return r;
}

static void add_member(room *r, int fd) {
    if (r->members == r->capacity) {
        r->capacity = r->capacity * 2 + 8;
        r->fds = realloc(r->fds, r->capacity * sizeof *r->fds);
    }
    r->fds[r->members++] = fd;
}

static void forget(int fd) {
    close(fd);
    for (room *r = all_rooms; r < all_rooms + room_count; r++)
        for (int i = 0; i < r->members; i++)
            if (r->fds[i] == fd) r->fds[i--] = r->fds[--r->members];
}

static void transmit(int fd, const char *bytes, int n) {
    while (n > 0) {
        int written = send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (written < 0) {
            if (errno != EAGAIN) return;
            struct pollfd writable = {fd, POLLOUT, 0};
            poll(&writable, 1, 1000);
            continue;
        }
        bytes += written;
        n -= written;
    }
}

static int frame(char *to, const char *payload, int n) {
    char *o = to;
    *o++ = (char)0x81;
    if (n < 126) *o++ = n;
    else if (n < 65536) {
        *o++ = 126;
        *o++ = n >> 8;
        *o++ = n;
    } else {
        *o++ = 127;
        for (int i = 7; i >= 0; i--) *o++ = (uint64_t)n >> (8 * i);
    }
    memcpy(o, payload, n);
    return o + n - to;
}

static void flush_room(int sender) {
    room *r = unflushed;
    if (!r) return;
    for (int i = 0; i < r->members; i++)
        if (r->fds[i] != sender) transmit(r->fds[i], r->frames, r->length);
    r->length = 0;
    unflushed = NULL;
}

static void flush_replies(int fd) {
    if (replies_length) transmit(fd, replies, replies_length);
    replies_length = 0;
}

// The JSON text of a member of a message; NULL if it has none.
static const char *field(const char *message, int n, const char *key, int *length) {
    const char *value = memmem(message, n, key, strlen(key)), *end = message + n;
    if (!value) return NULL;
    value += strlen(key);
    const char *p = value;
    if (*p == '"') {
        for (p++; p < end && *p != '"'; p++)
            if (*p == '\\') p++;
        p++;
    } else {
        while (p < end && *p != ',' && *p != '}') p++;
    }
    *length = p - value;
    return value;
}

static void broadcast(int fd, const char *path, int path_length, const char *data, int data_length) {
    room *r = room_named(path + 1, path_length - 2);
    const char *name = (const char *)memrchr(path, '/', path_length) + 1;
    int n = sprintf(scratch, "{\"event\":\"message\",\"path\":%.*s,\"params\":{\"room\":\"%.*s},\"data\":%.*s}",
                    path_length, path, (int)(path + path_length - name), name, data_length, data);
    if (unflushed != r) flush_room(fd);
    if (r->length + n + 16 > r->size) {
        r->size = (r->length + n + 16) * 2;
        r->frames = realloc(r->frames, r->size);
    }
    r->length += frame(r->frames + r->length, scratch, n);
    unflushed = r;
    if (!coalesce) flush_room(fd);
}

static void handle(int fd, const char *message, int n) {
    int event_length, path_length, data_length = 4, id_length;
    const char *event = field(message, n, "\"event\":", &event_length);
    const char *path = field(message, n, "\"path\":", &path_length);
    const char *data = field(message, n, "\"data\":", &data_length);
    const char *id = field(message, n, "\"id\":", &id_length);
    if (!event || !path) return;
    if (!memcmp(event, "\"join\"", 6)) add_member(room_named(path + 1, path_length - 2), fd);
    else if (!memcmp(event, "\"message\"", 9)) broadcast(fd, path, path_length, data, data_length);
    if (!id) return;
    n = sprintf(scratch, "{\"id\":%.*s,\"data\":%.*s}", id_length, id, data_length, data ? data : "null");
    replies_length += frame(replies + replies_length, scratch, n);
    if (!coalesce) flush_replies(fd);
}

// Handle whole frames; returns how many bytes they were.
static int take_frames(int fd, char *bytes, int n) {
    int at = 0;
    while (n - at >= 6) {
        u8 *head = (u8 *)bytes + at;
        uint64_t length = head[1] & 127;
        int size = length == 126 ? 2 : length == 127 ? 8 : 0;
        if (n - at < 6 + size) break;
        if (size) length = 0;
        for (int i = 0; i < size; i++) length = length << 8 | head[2 + i];
        if ((uint64_t)(n - at) < 6 + size + length) break;
        char *payload = bytes + at + 6 + size, *mask = payload - 4;
        for (uint64_t i = 0; i < length; i++) payload[i] ^= mask[i & 3];
        if ((head[0] & 15) == 1) handle(fd, payload, length);
        at += 6 + size + length;
    }
    return at;
}

// Answers the handshake, which is always the same; returns its length, 0 if it is not whole.
static int upgrade(int fd, char *bytes, int n) {
    static const char response[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                   "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    char *end = memmem(bytes, n, "\r\n\r\n", 4);
    if (!end) return 0;
    conns[fd].upgraded = 1;
    transmit(fd, response, sizeof response - 1);
    return end + 4 - bytes;
}

static void on_readable(int fd) {
    static char bytes[1 << 20];
    conn *c = conns + fd;
    int kept = c->length, taken = 0;
    if (kept) memcpy(bytes, c->kept, kept);
    int got = read(fd, bytes + kept, sizeof bytes - kept);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        forget(fd);
        return;
    }
    int n = kept + got;
    if (!c->upgraded) taken = upgrade(fd, bytes, n);
    if (c->upgraded) taken += take_frames(fd, bytes + taken, n - taken);
    flush_room(fd);
    flush_replies(fd);
    c->length = n - taken;
    if (c->length > c->size) {
        c->size = c->length * 2;
        c->kept = realloc(c->kept, c->size);
    }
    if (c->length) memcpy(c->kept, bytes + taken, c->length);
}

static void accept_all(int listener, int poller) {
    int fd, one = 1;
    while ((fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
        struct epoll_event readable = {.events = EPOLLIN, .data.fd = fd};
        if (fd >= MAX_CONNS) exit(2);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        conns[fd].upgraded = conns[fd].length = 0;
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &readable);
    }
}

int main(int count, char **words) {
    if (count != 3) return 2;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poller = epoll_create1(0), one = 1;
    coalesce = !strcmp(words[2], "coalesce");
    signal(SIGPIPE, SIG_IGN);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) {
        perror("bind");
        return 1;
    }
    struct epoll_event events[1024], readable = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &readable);
    for (;;) {
        int ready = epoll_wait(poller, events, 1024, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == listener) accept_all(listener, poller);
            else on_readable(events[i].data.fd);
        }
    }
}
