// wsload crowd: many connections that do as standard input says, a step a line:
//
//   open COUNT [PORT]                so many connections more
//   request FIRST COUNT              each of these connections sends a request
//   join FIRST COUNT EACH SIZE BASE  each joins EACH rooms, in one write; SIZE neighbours share theirs, and the rooms
//                                    are numbered from BASE on
//   turns FIRST COUNT EACH BASE      each joins EACH rooms of its own, the next one when the last is confirmed
//   say ONE COUNT BASE STEP GOAL MS  this connection sends a message to COUNT rooms, every STEP-th from BASE on; done
//                                    when GOAL of them have been heard, or after MS milliseconds
//   again ONE COUNT BASE STEP GOAL MS  likewise; what is still heard of the rounds since the last say counts too, and
//                                    all of theirs that arrived are told
//   close FIRST COUNT                each says goodbye, and waits until the server has closed its socket
//
// A step is answered by a line of JSON when all of it is done, or the time is up: how many were, what was wrong, and
// how long it took; of turns, how long a join took. Every request and every join must be answered once and in order, and
// with no error. What is heard counts once for each room; what comes again, or of an earlier say, is told.
#ifndef CROWD_H
#define CROWD_H

#include "dialogue.h"

static int crowd_size, crowd_limit;

static void crowd_open(int port, int count, int at_once, u64 give_up) {
    int goal = crowd_size + count, before = ready + failed, first = crowd_size;
    if (goal > crowd_limit) die("--conns allows %d connections", crowd_limit);
    while (ready + failed - before < count && now_ns() < give_up) {
        while (crowd_size < goal && crowd_size - first - (ready + failed - before) < at_once) {
            conn *c = all + crowd_size++;
            c->port = port;
            open_socket(c);
        }
        turn(SECOND / 10);
    }
}

static void crowd_close(int first, int count, u64 give_up) {
    u64 goal = left + count;
    for (int i = first; i < first + count; i++) {
        all[i].leaving = 1;
        write_frame(all + i, 8, "\003\350", 2);  // 1000
    }
    while (left < goal && now_ns() < give_up) turn(SECOND / 10);
}

static void crowd_answers(u64 goal, u64 give_up) {
    while (received < goal && now_ns() < give_up) turn(SECOND / 10);
}

// One step; returns how many connections, goodbyes or answers it brought.
static u64 crowd_step(char *line, int port, int at_once, u64 give_up) {
    int first, count, each, size, base;
    int step, goal, milliseconds;
    u64 before = ready + left + received;
    forget_latencies();
    if (sscanf(line, "open %d %d", &count, &port) >= 1) {
        crowd_open(port, count, at_once, give_up);
        return ready + left + received - before;
    }
    int another = sscanf(line, "again %d %d %d %d %d %d", &first, &count, &base, &step, &goal, &milliseconds) == 6;
    if (another || sscanf(line, "say %d %d %d %d %d %d", &first, &count, &base, &step, &goal, &milliseconds) == 6) {
        u64 until = now_ns() + milliseconds * (SECOND / 1000);
        if (first >= crowd_size) die("no such step: %s", strtok(line, "\n"));
        if (!another) {
            heard = arrived = 0;
            rounds_from = round_said + 1;
        }
        say(all + first, base, count, step);
        while (heard < (u64)goal && now_ns() < until) turn(SECOND / 1000);
        return heard;
    }
    if (sscanf(line, "%*s %d %d", &first, &count) != 2 || first < 0 || count < 0 || first + count > crowd_size)
        die("no such step: %s", strtok(line, "\n"));
    if (sscanf(line, "join %d %d %d %d %d", &first, &count, &each, &size, &base) == 5) {
        for (int i = first; i < first + count; i++) send_joins(all + i, base + (i - first) / size * each, each);
        crowd_answers(received + (u64)count * each, give_up);
    } else if (sscanf(line, "turns %d %d %d %d", &first, &count, &each, &base) == 4) {
        for (int i = first; i < first + count; i++) {
            all[i].next_room = base + (i - first) * each + 1;
            all[i].rooms_left = each;
            send_joins(all + i, all[i].next_room - 1, 1);
        }
        crowd_answers(received + (u64)count * each, give_up);
    } else if (sscanf(line, "request %d", &first) == 1) {
        for (int i = first; i < first + count; i++) send_requests(all + i, 1, now_ns());
        crowd_answers(received + count, give_up);
    } else if (sscanf(line, "close %d", &first) == 1) {
        crowd_close(first, count, give_up);
    } else {
        die("no such step: %s", strtok(line, "\n"));
    }
    return ready + left + received - before;
}

static void run_crowd(int port, int limit, int at_once, int timeout) {
    char *line;
    crowd_limit = limit;
    all = calloc(limit, sizeof *all);
    watch_standard_input();
    while ((line = next_line())) {
        u64 began = now_ns(), done = crowd_step(line, port, at_once, began + timeout * SECOND);
        printf("{\"done\":%llu,\"seconds\":%.6f,\"out_of_order\":%llu,\"refused\":%llu,\"failed\":%d,"
               "\"closed\":%llu,\"arrived\":%llu,\"late\":%llu,\"twice\":%llu,\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
               (unsigned long long)done, (now_ns() - began) / 1e9, (unsigned long long)out_of_order,
               (unsigned long long)refused, failed, (unsigned long long)closed, (unsigned long long)arrived,
               (unsigned long long)late, (unsigned long long)twice, quantile(.5), quantile(.99));
        fflush(stdout);
    }
}

#endif
