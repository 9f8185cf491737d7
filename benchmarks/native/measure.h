// What wsload measures with: a clock, a latency histogram, CPU time of processes and of a core.
#ifndef MEASURE_H
#define MEASURE_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

typedef uint64_t u64;
typedef int64_t i64;
typedef unsigned char u8;

#define SECOND 1000000000ull

static u64 now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

// ---- latencies: 32 buckets for each power of two, read at their middles (error at most 1.6 %) ----

#define BUCKETS (64 * 64)
static u64 histogram[BUCKETS];
static u64 samples, longest;

static int bucket_of(u64 ns) {
    if (ns < 64) return ns;
    int exponent = 63 - __builtin_clzll(ns) - 5;
    return exponent * 64 + (int)(ns >> exponent) % 64;
}

static u64 middle_of(int bucket) {
    int exponent = bucket / 64;
    u64 mantissa = bucket % 64;
    return exponent ? (mantissa << exponent) + (1ull << (exponent - 1)) : mantissa;
}

static void forget_latencies(void) {
    memset(histogram, 0, sizeof histogram);
    samples = longest = 0;
}

static void add_latency(u64 ns) {
    int bucket = bucket_of(ns);
    histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    samples++;
    if (ns > longest) longest = ns;
}

// The quantile q of all latencies, in microseconds.
static double quantile(double q) {
    u64 wanted = q * samples, seen = 0;
    if (!samples) return 0;
    for (int i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if (seen > wanted) return middle_of(i) / 1e3;
    }
    return longest / 1e3;
}

// ---- CPU ----

typedef struct {
    double user, system;  // by the ticks of the clock
    double exact;         // both, to the nanosecond
} cpu_time;

static int read_proc(const char *path, char *text, int room) {
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    int n = fread(text, 1, room - 1, file);
    fclose(file);
    text[n > 0 ? n : 0] = 0;
    return n > 0;
}

// Seconds that a process has used until now.
static cpu_time process_cpu(int pid) {
    char path[64], text[1024];
    unsigned long user, system;
    cpu_time used = {0};
    struct timespec exact;
    clockid_t clock;
    if (!clock_getcpuclockid(pid, &clock) && !clock_gettime(clock, &exact))
        used.exact = exact.tv_sec + 1e-9 * exact.tv_nsec;
    sprintf(path, "/proc/%d/stat", pid);
    if (!read_proc(path, text, sizeof text)) return used;
    char *fields = strrchr(text, ')');
    if (fields && sscanf(fields + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2) {
        used.user = (double)user / sysconf(_SC_CLK_TCK);
        used.system = (double)system / sysconf(_SC_CLK_TCK);
    }
    return used;
}

// What was used between two readings: the exact time, parted as the ticks are.
static cpu_time cpu_between(cpu_time first, cpu_time last) {
    cpu_time used = {last.user - first.user, last.system - first.system, last.exact - first.exact};
    double ticks = used.user + used.system;
    if (ticks > 0 && used.exact > 0) {
        used.user *= used.exact / ticks;
        used.system *= used.exact / ticks;
    }
    return used;
}

static double own_cpu(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_utime.tv_sec + r.ru_stime.tv_sec + 1e-6 * (r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

// Seconds until now in which a core was busy, and in which the host had taken it away.
typedef struct {
    double busy, stolen;
} core_time;

static core_time core_used(int number) {
    char text[16384], name[16];
    double user, nice, system, idle, wait, hard, soft, stolen;
    core_time used = {0, 0};
    if (number < 0 || !read_proc("/proc/stat", text, sizeof text)) return used;
    sprintf(name, "\ncpu%d ", number);
    char *line = strstr(text, name);
    if (line && sscanf(line + strlen(name), "%lf %lf %lf %lf %lf %lf %lf %lf", &user, &nice, &system, &idle, &wait,
                       &hard, &soft, &stolen) == 8) {
        used.busy = (user + nice + system + hard + soft) / sysconf(_SC_CLK_TCK);
        used.stolen = stolen / sysconf(_SC_CLK_TCK);
    }
    return used;
}

#endif
