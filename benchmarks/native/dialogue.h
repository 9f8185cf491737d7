// What the clients of wsload say, and what they make of what they hear: every delivery and every reply is checked.
#ifndef DIALOGUE_H
#define DIALOGUE_H

#include "connections.h"

static int rooms = 1, members = 1000, burst = 1, measuring, stopped;
static double rate;
static const char *open_text = "", *join_text = "", *message_text = "", *request_text = "", *mark = "\"id\"";

#define CROWD_ROOMS 100000
static u64 round_said, rounds_from, heard, arrived, late, twice;  // crowd: what is said now, in one round or several
static u64 heard_in[CROWD_ROOMS];                        // by room, the last round that was heard

static u64 measured, sent, received, out_of_order, wrong_room, to_sender, refused;
static u64 *room_sent;  // messages that each room was sent
static int *room_left;  // deliveries of its burst that are still to come

// ---- what they say ----

static void is_ready(conn *c) {
    c->state = READY;
    ready++;
}

static void send_join(conn *c) {
    const char *opening = mode == CROWD ? open_text : join_text;
    if (!*opening) {
        is_ready(c);
        return;
    }
    c->state = JOINING;
    if (mode == CROWD) {
        write_frame(c, 1, open_text, strlen(open_text));
        return;
    }
    int n = fill_in(join_text, c->room, 0, 0);
    if (centrifuge && c->sender) n = strcspn(text, "\n");
    write_frame(c, 1, text, n);
}

static void send_requests(conn *c, int count, u64 due) {
    out_length = 0;
    for (int i = 0; i < count; i++) {
        int n = fill_in(request_text, c - all, ++c->requests, due);
        append_frame(1, text, n);
    }
    sent += count;
    write_bytes(c, out, out_length);
}

// Joins of rooms that are numbered from first on, in one write.
static void send_joins(conn *c, int first, int count) {
    out_length = 0;
    for (int i = 0; i < count; i++) {
        int n = fill_in(join_text, first + i, ++c->requests, 0);
        append_frame(1, text, n);
    }
    c->asked_at = now_ns();
    write_bytes(c, out, out_length);
}

// A message to each of these rooms in one write: every step-th from first on.
static void say(conn *c, int first, int count, int step) {
    out_length = 0;
    c->sender = 1;
    round_said++;
    for (int i = 0; i < count; i++) {
        int n = fill_in(message_text, first + i * step, round_said, now_ns());
        append_frame(1, text, n);
    }
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
    received++;
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

// The id that follows the mark; 0 if this is no reply.
static int read_id(const char *message, int n, u64 *id) {
    const char *end = message + n, *p = memmem(message, n, mark, strlen(mark));
    if (!p || (socketio && p != message)) return 0;
    for (p += strlen(mark); p < end && (*p == ':' || *p == ' ');) p++;
    const char *first = p;
    for (*id = 0; p < end && *p >= '0' && *p <= '9'; p++) *id = *id * 10 + *p - '0';
    return p > first;
}

// Whatever is not the load itself: opening, joining, the protocols' own pings. Returns whether it was that.
static int overhead(conn *c, const char *message, int n) {
    const char *expected = centrifuge && (c->sender || mode == CROWD) ? "\"connect\":" : mark;
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
        u64 id;
        if (centrifuge ? !memmem(message, n, expected, strlen(expected)) : !read_id(message, n, &id)) return 0;
        is_ready(c);
    } else {
        return 0;
    }
    return 1;
}

// Returns whether it is one; nobody asks for those to what was said.
static int crowd_reply(conn *c, const char *message, int n) {
    u64 id;
    if (!read_id(message, n, &id)) return 0;
    if (c->sender) return 1;
    received++;
    if (id != ++c->sequence) out_of_order++;
    if (memmem(message, n, "\"error\"", 7)) refused++;
    if (c->rooms_left) {
        add_latency(read_at - c->asked_at);
        if (--c->rooms_left) send_joins(c, c->next_room++, 1);
    }
    return 1;
}

static void crowd_delivery(u64 room, u64 round) {
    if (round < rounds_from || room >= CROWD_ROOMS) {
        late++;
        return;
    }
    if (heard_in[room] == round) twice++;
    else arrived++;
    if (heard_in[room] < rounds_from) heard++;
    heard_in[room] = round;
}

static void hear(conn *c, const char *message, int n) {
    u64 room, sequence, time;
    if (overhead(c, message, n)) return;
    if (mode == CROWD && crowd_reply(c, message, n)) return;
    if (!read_stamp(message, n, &room, &sequence, &time)) return;
    if (mode == CROWD) crowd_delivery(room, sequence);
    else if (mode == RPC) reply(c, room, sequence, time);
    else delivery(c, room, sequence, time);
}

// Closed loop: who was answered asks again.
static void after_read(conn *c) {
    if (mode == RPC && answered && !rate && !stopped) send_requests(c, answered, read_at);
}

#endif
