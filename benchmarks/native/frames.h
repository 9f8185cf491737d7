// What wsload writes: templates filled in, masked frames, gathered so that a burst is one write.
#ifndef FRAMES_H
#define FRAMES_H

#include "measure.h"
#include <stdlib.h>

// Of %DATA%: "#rrrrr ssssssssss tttttttttttttttttttt#": room, sequence, time of sending in ns.
#define STAMP 39

static int payload_size = 100;
static const char *room_pattern = "/chat/room%d";

static char *out;  // the frames of one write
static int out_length, out_room;

static void append_frame(int opcode, const char *text, int n) {
    static const u8 mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    if (out_length + n + 16 > out_room) {
        out_room = (out_length + n + 16) * 2;
        out = realloc(out, out_room);
    }
    char *o = out + out_length;
    *o++ = 0x80 | opcode;
    if (n < 126) *o++ = 0x80 | n;
    else if (n < 65536) {
        *o++ = 0x80 | 126;
        *o++ = n >> 8;
        *o++ = n;
    } else {
        *o++ = 0x80 | 127;
        for (int i = 7; i >= 0; i--) *o++ = (u64)n >> (8 * i);
    }
    memcpy(o, mask, 4);
    o += 4;
    for (int i = 0; i < n; i++) *o++ = text[i] ^ mask[i & 3];
    out_length = o - out;
}

static int put_room(char *o, int room) {
    if (strstr(room_pattern, "%d")) return sprintf(o, room_pattern, room);
    return sprintf(o, "%s", room_pattern);
}

static int put_data(char *o, int room, u64 sequence, u64 time) {
    int n = sprintf(o, "#%05d %010llu %020llu#", room, (unsigned long long)sequence, (unsigned long long)time);
    for (; n < payload_size; n++) o[n] = 'a' + n % 26;
    return n;
}

// Fill a template in: %ROOM%, %ID% and %DATA%. Returns the length; the text stays until the next call.
static char *text;
static int fill_in(const char *template, int room, u64 id, u64 time) {
    if (!text) text = malloc(payload_size + 65536);
    char *o = text;
    while (*template) {
        if (!strncmp(template, "%ROOM%", 6)) o += put_room(o, room), template += 6;
        else if (!strncmp(template, "%ID%", 4)) o += sprintf(o, "%llu", (unsigned long long)id), template += 4;
        else if (!strncmp(template, "%DATA%", 6)) o += put_data(o, room, id, time), template += 6;
        else *o++ = *template++;
    }
    *o = 0;
    return o - text;
}

static int digits(const char *p, int n, u64 *value) {
    *value = 0;
    for (int i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') return 0;
        *value = *value * 10 + p[i] - '0';
    }
    return 1;
}

// Find the stamp of %DATA% in a message.
static int read_stamp(const char *message, int n, u64 *room, u64 *sequence, u64 *time) {
    const char *end = message + n, *p = message;
    while ((p = memchr(p, '#', end - p)) && end - p >= STAMP) {
        if (p[STAMP - 1] == '#' && digits(p + 1, 5, room) && digits(p + 7, 10, sequence) && digits(p + 18, 20, time))
            return 1;
        p++;
    }
    return 0;
}

#endif
