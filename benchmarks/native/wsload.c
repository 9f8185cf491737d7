// wsload: a load generator for WebSocket room servers. One thread, epoll, libc only.
//
//   wsload fan   --port P --rooms R --members K [--burst B | --rate HZ] ...
//   wsload rpc   --port P --conns N [--inflight W | --rate HZ] ...
//   wsload idle  --port P --conns N --hold SECONDS ...
//   wsload crowd --port P --conns N ...
//
// fan:   R rooms, each with K receivers and a sender, which joins too, so that "not to the sender" is checked.
//        Closed loop: a room's next burst of B messages (one write) goes when all K have the former one.
//        Open loop (--rate): each sender sends HZ messages a second; a latency counts from the scheduled time.
// rpc:   N connections with W requests each in flight. Reply and request are matched in order.
//        Open loop: HZ requests a second over all connections, at random; latencies count likewise.
// idle:  N connections that join and then only exist.
// crowd: up to N connections that are steered through standard input: see crowd.h.
//
// --join, --msg and --rpc are templates, see frames.h. Every receiver checks room, order and "exactly once"; what is
// still missing when --drain seconds have passed is counted. Prints one line of JSON. With --pause it says when all
// are connected, and loads when a line comes on standard input.
//
// --socketio speaks Engine.IO 4 over WebSocket. --centrifuge speaks its JSON protocol: a frame holds documents parted
// by newlines, pings ("{}") are answered, and a sender sends only the first line of --join (connect): it is not
// subscribed, since centrifuge delivers to the publisher too. In a crowd --open is sent first, and "connect" awaited.
//
// With --sender-port the senders are clients of another server than the receivers. Each --also names one more server:
// receivers, and senders, are spread over --port and these in turn. Of several --pid, "each_s" tells what each used.
#define _GNU_SOURCE
#include "crowd.h"
#include <math.h>
#include <signal.h>

static int port, sender_port, ports[16], port_count = 1, conns = 50, inflight = 1, total;
static int connecting_at_once = 64, timeout = 30, core = -1, pids[16], pid_count, paused;
static double warm = 0.7, seconds = 2.5, hold = 3, drain = 8;

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
        {"--path", 0, 0, &path},    {"--header", 0, 0, &header},     {"--open", 0, 0, &open_text},
        {"--join", 0, 0, &join_text}, {"--msg", 0, 0, &message_text}, {"--rpc", 0, 0, &request_text}, {"--mark", 0, 0, &mark},
        {"--room-name", 0, 0, &room_pattern},
    };
    int known = sizeof options / sizeof *options;
    for (int i = 2; i < count; i++) {
        int o = 0;
        if (!strcmp(words[i], "--socketio")) socketio = 1;
        else if (!strcmp(words[i], "--centrifuge")) centrifuge = 1;
        else if (!strcmp(words[i], "--pause")) paused = 1;
        else if (i + 1 == count) die("%s needs a value", words[i]);
        else if (!strcmp(words[i], "--pid") && pid_count < 16) pids[pid_count++] = atoi(words[++i]);
        else if (!strcmp(words[i], "--also") && port_count < 16) ports[port_count++] = atoi(words[++i]);
        else {
            while (o < known && strcmp(words[i], options[o].name)) o++;
            if (o == known) die("unknown option %s", words[i]);
            i++;
            if (options[o].number) *options[o].number = atoi(words[i]);
            else if (options[o].real) *options[o].real = atof(words[i]);
            else *options[o].string = words[i];
        }
    }
    ports[0] = port;
}

// Open all connections, a few at a time; returns the seconds until all were ready.
static double connect_all(void) {
    u64 began = now_ns();
    int started = 0, receivers = rooms * members;
    total = mode == FAN ? receivers + rooms : conns;
    all = calloc(total, sizeof *all);
    room_sent = calloc(rooms, sizeof *room_sent);
    room_left = calloc(rooms, sizeof *room_left);
    for (int i = 0; i < total; i++) {
        all[i].sender = mode == FAN && i >= receivers;
        all[i].port = ports[(all[i].sender ? i - receivers : i) % port_count];
        if (all[i].sender && sender_port) all[i].port = sender_port;
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
static u64 send_messages_due(u64 began) {
    static u64 count;
    for (;;) {
        u64 due = began + (u64)(count * 1e9 / rate / rooms);
        if (due > now_ns()) return due;
        send_burst(count++ % rooms, 1, due);
    }
}

// Likewise for requests, which come at random (Poisson), from one connection after the other.
static u64 send_requests_due(u64 began) {
    static u64 count, due, state = 88172645463325252ull;
    if (!due) due = began;
    while (due <= now_ns()) {
        send_requests(all + count++ % total, 1, due);
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;  // xorshift
        due += -log(((state >> 11) + 1) * 0x1p-53) / rate * 1e9;
    }
    return due;
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
        cpu_time used = cpu_between(first.server[i], last.server[i]);
        user += used.user;
        system += used.system;
    }
    printf("{\"connections\":%d,\"connect_s\":%.3f,\"wall_s\":%.4f,\"count\":%llu,\"user_s\":%.6f,\"system_s\":%.6f,"
           "\"load_cpu\":%.3f,\"core_busy\":%.3f,\"core_stolen\":%.3f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,"
           "\"max_us\":%.1f,\"missing\":%llu,\"out_of_order\":%llu,\"wrong_room\":%llu,\"to_sender\":%llu,"
           "\"closed\":%llu,\"received\":%llu,\"each_s\":[",
           total, connected, wall, (unsigned long long)measured, user, system, (last.own - first.own) / wall,
           (last.core.busy - first.core.busy) / wall, (last.core.stolen - first.core.stolen) / wall, quantile(.5),
           quantile(.99), quantile(.999), longest / 1e3, (unsigned long long)missing(),
           (unsigned long long)out_of_order, (unsigned long long)wrong_room, (unsigned long long)to_sender,
           (unsigned long long)closed, (unsigned long long)received);
    for (int i = 0; i < pid_count; i++)
        printf("%s%.6f", i ? "," : "", last.server[i].exact - first.server[i].exact);
    printf("]}\n");
}

// All are connected: whoever counts the server's instructions starts here, and says so.
static void wait_for_the_word(void) {
    printf("{\"connected\":%d}\n", total);
    fflush(stdout);
    watch_standard_input();
    next_line();
}

static void run_load(double connected) {
    reading first = {0};
    turn_until(now_ns() + SECOND / 5);
    if (paused) wait_for_the_word();
    u64 began = read_at = now_ns(), window = began + warm * 1e9, end = window + seconds * 1e9;
    for (int i = 0; mode == RPC && !rate && i < total; i++) send_requests(all + i, inflight, began);
    for (int i = 0; mode == FAN && !rate && i < rooms; i++) send_burst(i, burst, 0);
    for (u64 now; (now = now_ns()) < end;) {
        if (!measuring && now >= window) {
            first = take_reading();
            measuring = 1;
        }
        u64 until = measuring ? end : window;
        u64 due = !rate ? until : mode == FAN ? send_messages_due(began) : send_requests_due(began);
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
    static const char *modes[] = {[FAN] = "fan", [RPC] = "rpc", [IDLE] = "idle", [CROWD] = "crowd"};
    int known = sizeof modes / sizeof *modes, chosen = 0;
    while (count > 1 && chosen < known && strcmp(words[1], modes[chosen])) chosen++;
    if (count < 2 || chosen == known) die("usage: wsload fan|rpc|idle|crowd --port P ...");
    mode = chosen;
    read_options(count, words);
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(0);
    if (mode == CROWD) {
        run_crowd(port, conns, connecting_at_once, timeout);
    } else if (mode == IDLE) {
        double connected = connect_all();
        printf("{\"ready\":%d,\"failed\":%d,\"connect_s\":%.3f}\n", ready, failed, connected);
        fflush(stdout);
        turn_until(now_ns() + hold * 1e9);
    } else {
        run_load(connect_all());
    }
    fflush(stdout);
    _exit(0);
}
