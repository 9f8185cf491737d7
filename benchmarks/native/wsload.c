// wsload: a load generator for WebSocket room servers. One thread, epoll, libc only.
//
//   wsload fan  --port P --rooms R --members K [--burst B | --rate HZ] ...
//   wsload rpc  --port P --conns N --inflight W ...
//   wsload idle --port P --conns N --hold SECONDS ...
//
// fan:  R rooms, each with K receivers and a sender, which joins too, so that "not to the sender" is checked.
//       Closed loop: a room's next burst of B messages (one write) goes when all K have the former one.
//       Open loop (--rate): each sender sends HZ messages a second; a latency counts from the scheduled time.
// rpc:  N connections with W requests each in flight. Reply and request are matched in order.
// idle: N connections that join and then only exist.
//
// --join, --msg and --rpc are templates, see frames.h. Every receiver checks room, order and "exactly once"; what is
// still missing when --drain seconds have passed is counted. Prints one line of JSON.
//
// --socketio speaks Engine.IO 4 over WebSocket. --centrifuge speaks its JSON protocol: a frame holds documents parted
// by newlines, pings ("{}") are answered, and a sender sends only the first line of --join (connect): it is not
// subscribed, since centrifuge delivers to the publisher too.
#define _GNU_SOURCE
#include "frames.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum mode { FAN, RPC, IDLE };
enum state { CONNECTING, HANDSHAKE, ENGINE_OPEN, ENGINE_CONNECT, JOINING, READY, DEAD };

typedef struct {
    int fd, port, room;
    enum state state;
    u8 sender, wants_out;
    u64 sequence;                     // fan: of the last message received; rpc: of the last reply
    u64 requests;                     // rpc: sent
    char *in, *fragments, *unsent;    // part of a frame; of a message; of what was written
    int in_length, in_room, fragments_length, unsent_length, unsent_room;
} conn;

static int port, sender_port, rooms = 1, members = 1000, burst = 1, conns = 50, inflight = 1;
static int connecting_at_once = 64, timeout = 30, socketio, centrifuge, core = -1, pids[16], pid_count;
static double rate, warm = 0.7, seconds = 2.5, hold = 3, drain = 8;
static const char *path = "/", *header = "", *join_text = "", *message_text = "", *request_text = "", *mark = "\"id\"";

static enum mode mode;
static conn *all;
static int total, poller, ready, failed, measuring, stopped, answered;
static u64 read_at, measured, sent, received, out_of_order, wrong_room, to_sender, closed;
static u64 *room_sent;  // messages that each room was sent
static int *room_left;  // deliveries of its burst that are still to come

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
    c->state = CONNECTING;
    if (connect(c->fd, (void *)&address, sizeof address) && errno != EINPROGRESS) die("connect: %s", strerror(errno));
    watch(c, EPOLL_CTL_ADD, 1);
}

// ---- what clients say ----

static void is_ready(conn *c) {
    c->state = READY;
    ready++;
}

static void send_join(conn *c) {
    if (!*join_text) {
        is_ready(c);
        return;
    }
    c->state = JOINING;
    int n = fill_in(join_text, c->room, 0, 0);
    if (centrifuge && c->sender) n = strcspn(text, "\n");
    write_frame(c, 1, text, n);
}

static void send_requests(conn *c, int count) {
    out_length = 0;
    for (int i = 0; i < count; i++) {
        int n = fill_in(request_text, c - all, ++c->requests, read_at);
        append_frame(1, text, n);
    }
    sent += count;
    write_bytes(c, out, out_length);
}

// Messages of a room in one write; due is when they should have gone, 0 for now.
static void send_burst(int room, int count, u64 due) {
    conn *c = all + (size_t)rooms * members + room;
    out_length = 0;
    room_left[room] = count * members;
    for (int i = 0; i < count; i++) {
        int n = fill_in(message_text, room, ++room_sent[room], due ? due : now_ns());
        append_frame(1, text, n);
    }
    sent += count;
    write_bytes(c, out, out_length);
}

// ---- what they hear ----

static void count_latency(u64 time) {
    if (!measuring) return;
    measured++;
    add_latency(read_at > time ? read_at - time : 0);
}

static void reply(conn *c, u64 number, u64 sequence, u64 time) {
    received++;
    if (number != (u64)(c - all)) wrong_room++;
    if (sequence != ++c->sequence) out_of_order++;
    count_latency(time);
    answered++;
}

static void delivery(conn *c, u64 room, u64 sequence, u64 time) {
    if (c->sender) {
        to_sender++;
    } else if ((int)room != c->room) {
        wrong_room++;
    } else {
        if (sequence != c->sequence + 1) out_of_order++;
        c->sequence = sequence;
        count_latency(time);
        if (!rate && --room_left[room] == 0 && !stopped) send_burst(room, burst, 0);
    }
}

// Whatever is not the load itself: opening, joining, the protocols' own pings. Returns whether it was that.
static int overhead(conn *c, const char *message, int n) {
    const char *expected = centrifuge && c->sender ? "\"connect\":" : mark;
    if (centrifuge && n == 2 && message[0] == '{') {
        write_frame(c, 1, "{}", 2);
    } else if (socketio && n == 1 && message[0] == '2') {
        write_frame(c, 1, "3", 1);
    } else if (c->state == ENGINE_OPEN) {
        if (n && message[0] == '0') {
            c->state = ENGINE_CONNECT;
            write_frame(c, 1, "40", 2);
        }
    } else if (c->state == ENGINE_CONNECT) {
        if (n > 1 && message[0] == '4' && message[1] == '0') send_join(c);
    } else if (c->state == JOINING) {
        if (!memmem(message, n, expected, strlen(expected))) return 0;
        is_ready(c);
    } else {
        return 0;
    }
    return 1;
}

static void hear(conn *c, const char *message, int n) {
    u64 room, sequence, time;
    if (overhead(c, message, n) || !read_stamp(message, n, &room, &sequence, &time)) return;
    if (mode == RPC) reply(c, room, sequence, time);
    else delivery(c, room, sequence, time);
}

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
    if (answered && !stopped && c->state == READY) send_requests(c, answered);
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

static void turn(i64 ns) {
    static struct epoll_event events[2048];
    struct timespec wait = {ns > 0 ? ns / SECOND : 0, ns > 0 ? ns % SECOND : 0};
    int count = epoll_pwait2(poller, events, 2048, &wait, 0);
    for (int i = 0; i < count; i++) {
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

// ---- the run ----

static void read_options(int count, char **words) {
    struct {
        const char *name;
        int *number;
        double *real;
        const char **string;
    } options[] = {
        {"--port", &port},          {"--sender-port", &sender_port}, {"--rooms", &rooms},       {"--members", &members},
        {"--burst", &burst},        {"--size", &payload_size},       {"--conns", &conns},       {"--inflight", &inflight},
        {"--par", &connecting_at_once}, {"--timeout", &timeout},     {"--core", &core},         {"--rate", 0, &rate},
        {"--warm", 0, &warm},       {"--secs", 0, &seconds},         {"--hold", 0, &hold},      {"--drain", 0, &drain},
        {"--path", 0, 0, &path},    {"--header", 0, 0, &header},     {"--join", 0, 0, &join_text},
        {"--msg", 0, 0, &message_text}, {"--rpc", 0, 0, &request_text}, {"--mark", 0, 0, &mark},
        {"--room-name", 0, 0, &room_pattern},
    };
    int known = sizeof options / sizeof *options;
    for (int i = 2; i < count; i++) {
        int o = 0;
        if (!strcmp(words[i], "--socketio")) socketio = 1;
        else if (!strcmp(words[i], "--centrifuge")) centrifuge = 1;
        else if (i + 1 == count) die("%s needs a value", words[i]);
        else if (!strcmp(words[i], "--pid") && pid_count < 16) pids[pid_count++] = atoi(words[++i]);
        else {
            while (o < known && strcmp(words[i], options[o].name)) o++;
            if (o == known) die("unknown option %s", words[i]);
            i++;
            if (options[o].number) *options[o].number = atoi(words[i]);
            else if (options[o].real) *options[o].real = atof(words[i]);
            else *options[o].string = words[i];
        }
    }
}

// Open all connections, a few at a time; returns the seconds until all were ready.
static double connect_all(void) {
    u64 began = now_ns();
    int started = 0, receivers = rooms * members;
    total = mode == FAN ? receivers + rooms : conns;
    all = calloc(total, sizeof *all);
    room_sent = calloc(rooms, sizeof *room_sent);
    room_left = calloc(rooms, sizeof *room_left);
    poller = epoll_create1(0);
    for (int i = 0; i < total; i++) {
        all[i].sender = mode == FAN && i >= receivers;
        all[i].port = all[i].sender && sender_port ? sender_port : port;
        if (mode == FAN) all[i].room = all[i].sender ? i - receivers : i / members;
    }
    while (ready + failed < total && now_ns() - began < timeout * SECOND) {
        while (started < total && started - ready - failed < connecting_at_once) open_socket(all + started++);
        turn(SECOND / 10);
    }
    double took = (now_ns() - began) / 1e9;
    if (ready < total && (mode != IDLE || !ready))
        die("only %d of %d connections were ready after %.1f s (%d failed)", ready, total, took, failed);
    return took;
}

// What the open loop owes by now; returns when the next message is due. The rooms are spread over the period.
static u64 send_what_is_due(u64 began) {
    static u64 count;
    for (;;) {
        u64 due = began + (u64)(count * 1e9 / rate / rooms);
        if (due > now_ns()) return due;
        send_burst(count++ % rooms, 1, due);
    }
}

static u64 missing(void) {
    u64 count = sent - received;
    if (mode == FAN) {
        count = 0;
        for (int i = 0; i < rooms * members; i++) count += room_sent[all[i].room] - all[i].sequence;
    }
    return count;
}

typedef struct {
    u64 at;
    cpu_time server[16];
    core_time core;
    double own;
} reading;

static reading take_reading(void) {
    reading r = {.core = core_used(core), .own = own_cpu()};
    for (int i = 0; i < pid_count; i++) r.server[i] = process_cpu(pids[i]);
    r.at = now_ns();
    return r;
}

static void print_result(double connected, reading first, reading last) {
    double wall = (last.at - first.at) / 1e9, user = 0, system = 0;
    for (int i = 0; i < pid_count; i++) {
        user += last.server[i].user - first.server[i].user;
        system += last.server[i].system - first.server[i].system;
    }
    printf("{\"connections\":%d,\"connect_s\":%.3f,\"wall_s\":%.4f,\"count\":%llu,\"user_s\":%.3f,\"system_s\":%.3f,"
           "\"load_cpu\":%.3f,\"core_busy\":%.3f,\"core_stolen\":%.3f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,"
           "\"max_us\":%.1f,\"missing\":%llu,\"out_of_order\":%llu,\"wrong_room\":%llu,\"to_sender\":%llu,"
           "\"closed\":%llu}\n",
           total, connected, wall, (unsigned long long)measured, user, system, (last.own - first.own) / wall,
           (last.core.busy - first.core.busy) / wall, (last.core.stolen - first.core.stolen) / wall, quantile(.5),
           quantile(.99), quantile(.999), longest / 1e3, (unsigned long long)missing(),
           (unsigned long long)out_of_order, (unsigned long long)wrong_room, (unsigned long long)to_sender,
           (unsigned long long)closed);
}

static void run_load(double connected) {
    reading first = {0};
    turn_until(now_ns() + SECOND / 5);
    u64 began = read_at = now_ns(), window = began + warm * 1e9, end = window + seconds * 1e9;
    for (int i = 0; mode == RPC && i < total; i++) send_requests(all + i, inflight);
    for (int i = 0; mode == FAN && !rate && i < rooms; i++) send_burst(i, burst, 0);
    for (u64 now; (now = now_ns()) < end;) {
        if (!measuring && now >= window) {
            first = take_reading();
            measuring = 1;
        }
        u64 until = measuring ? end : window;
        u64 due = mode == FAN && rate ? send_what_is_due(began) : until;
        i64 wait = (i64)((due < until ? due : until) - now_ns());
        turn(wait < (i64)SECOND / 50 ? wait : (i64)SECOND / 50);
    }
    reading last = take_reading();
    measuring = 0;
    stopped = 1;
    u64 give_up = now_ns() + drain * 1e9;
    while (missing() && now_ns() < give_up) turn(SECOND / 50);
    print_result(connected, first, last);
}

int main(int count, char **words) {
    if (count < 2) die("usage: wsload fan|rpc|idle --port P ...");
    mode = !strcmp(words[1], "rpc") ? RPC : !strcmp(words[1], "idle") ? IDLE : FAN;
    read_options(count, words);
    signal(SIGPIPE, SIG_IGN);
    double connected = connect_all();
    if (mode != IDLE) {
        run_load(connected);
    } else {
        printf("{\"ready\":%d,\"failed\":%d,\"connect_s\":%.3f}\n", ready, failed, connected);
        fflush(stdout);
        turn_until(now_ns() + hold * 1e9);
    }
    fflush(stdout);
    _exit(0);
}
