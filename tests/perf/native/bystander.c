/* The clock of `perf.bystander`: sends packet-ins at their times, and notes when their packets come out.
 *
 *   bystander SOCKET FLOWS INTERVAL BURST EVERY < packet-ins
 *
 * SOCKET is a descriptor: a connection on which a fake switch has been made right. Standard input has FLOWS packet-ins,
 * of which one is sent each INTERVAL microseconds, and after them those of a flood, of which BURST are sent at once each
 * EVERY microseconds. What the other end asks is answered as by a switch without entries. For each of the flows, in
 * order, the nanoseconds from when it was sent until its packet came out are written to standard output, a line each.
 *
 * Reading an answer takes less than a microsecond: a flood's are hardly in the way of others'. One thread, which sleeps
 * where there is nothing to do. Errors go to standard error with exit status 1.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ERROR = 1, ECHO_REQUEST, ECHO_REPLY, EXPERIMENTER, PACKET_OUT = 13, MULTIPART_REQUEST = 18, MULTIPART_REPLY };
enum { BARRIER_REQUEST = 20, BARRIER_REPLY, AGGREGATE = 2, ONF = 0x4F4E4600, BUNDLE_CONTROL = 2300 };
enum { OUT_FRAME = 40, SEQUENCE_AT = 14 + 20 + 4, FRAME = 74, ROOM = 1 << 20, SILENCE_S = 20, HEADER = 8 };

typedef struct { uint32_t sequence; int64_t sent, out; } Flow;

static int connection;
static uint8_t in[ROOM], *out;
static size_t in_length, out_begin, out_end, out_room;
static Flow *flows;
static int *by_sequence; /* numbers of flows, in the order of their sequence numbers */
static int flow_count, left;

static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint16_t r16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return be16toh(v); }
static uint32_t r32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return be32toh(v); }
static void w16(uint8_t *p, uint16_t v) { v = htobe16(v); memcpy(p, &v, 2); }
static void w32(uint8_t *p, uint32_t v) { v = htobe32(v); memcpy(p, &v, 4); }

static int64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000ll + at.tv_nsec;
}

static int in_order(const void *a, const void *b) {
    uint32_t one = flows[*(const int *)a].sequence, other = flows[*(const int *)b].sequence;
    return one < other ? -1 : one > other;
}

static Flow *flow_of(uint32_t sequence) {
    int low = 0, high = flow_count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (flows[by_sequence[middle]].sequence < sequence) low = middle + 1;
        else high = middle;
    }
    if (low == flow_count || flows[by_sequence[low]].sequence != sequence) return NULL;
    return &flows[by_sequence[low]];
}

/* Nothing blocks: what the other end does not take yet waits here. */
static void push(void) {
    while (out_begin < out_end) {
        ssize_t sent = send(connection, out + out_begin, out_end - out_begin, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (sent < 0) die("the connection cannot be written to: %s", strerror(errno));
        out_begin += (size_t)sent;
    }
    out_begin = out_end = 0;
}

static void append(const uint8_t *message, size_t length) {
    if (out_end + length > out_room) {
        while (out_room < out_end + length) out_room = out_room ? 2 * out_room : ROOM;
        if (!(out = realloc(out, out_room))) die("out of memory");
    }
    memcpy(out + out_end, message, length);
    out_end += length;
}

static void answer(int kind, uint32_t xid, const uint8_t *body, size_t length) {
    uint8_t message[64] = {4, (uint8_t)kind};
    if (length > sizeof message - HEADER) die("an answer is too long");
    w16(message + 2, (uint16_t)(HEADER + length));
    w32(message + 4, xid);
    memcpy(message + HEADER, body, length);
    append(message, HEADER + length);
}

static void message_came(const uint8_t *message, size_t length, int64_t now) {
    uint32_t xid = r32(message + 4);
    uint8_t body[40] = {0};
    switch (message[1]) {
    case PACKET_OUT:
        if (length == OUT_FRAME + FRAME) {
            Flow *flow = flow_of(r32(message + OUT_FRAME + SEQUENCE_AT));
            if (flow && !flow->out) {
                if (!flow->sent) die("a packet came out that was not sent");
                flow->out = now;
                left--;
            }
        }
        break;
    case ECHO_REQUEST:
        answer(ECHO_REPLY, xid, message + HEADER, length - HEADER);
        break;
    case BARRIER_REQUEST:
        answer(BARRIER_REPLY, xid, body, 0);
        break;
    case MULTIPART_REQUEST:
        if (length < 16) die("a truncated request");
        memcpy(body, message + 8, 2);
        answer(MULTIPART_REPLY, xid, body, r16(message + 8) == AGGREGATE ? 32 : 8);
        break;
    case EXPERIMENTER:
        if (length >= 24 && r32(message + 8) == ONF && r32(message + 12) == BUNDLE_CONTROL) {
            memcpy(body, message + 8, 16);
            w16(body + 12, (uint16_t)(r16(message + 20) + 1)); /* what was asked for is done */
            w16(body + 14, 0);
            answer(EXPERIMENTER, xid, body, 16);
        }
        break;
    case ERROR:
        die("the other end answered with an error");
    }
}

static void take(void) {
    ssize_t got = recv(connection, in + in_length, sizeof in - in_length, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) die("the other end closed the connection; %d flows are not set up", left);
    in_length += (size_t)got;
    int64_t now = now_ns();
    size_t at = 0;
    while (in_length - at >= HEADER) {
        size_t length = r16(in + at + 2);
        if (length < HEADER) die("a message of %zu bytes", length);
        if (in_length - at < length) break;
        message_came(in + at, length, now);
        at += length;
    }
    memmove(in, in + at, in_length - at);
    in_length -= at;
}

/* All of standard input; how many bytes. */
static size_t packet_ins(uint8_t **into) {
    size_t length = 0, room = ROOM;
    uint8_t *read_in = malloc(room);
    for (size_t got; read_in && (got = fread(read_in + length, 1, room - length, stdin)) > 0;) {
        length += got;
        if (length == room) read_in = realloc(read_in, room *= 2);
    }
    if (!read_in) die("out of memory");
    *into = read_in;
    return length;
}

static const uint8_t *behind(const uint8_t *message, const uint8_t *end) {
    if (end - message < HEADER || end - message < r16(message + 2) || r16(message + 2) < FRAME) die("a packet-in is cut");
    return message + r16(message + 2);
}

int main(int count, char **words) {
    if (count != 6) die("usage: bystander SOCKET FLOWS INTERVAL BURST EVERY < packet-ins");
    connection = atoi(words[1]);
    flow_count = left = atoi(words[2]);
    int64_t interval = atoll(words[3]) * 1000, every = atoll(words[5]) * 1000;
    int burst = atoi(words[4]);
    if (flow_count < 1 || interval < 1 || burst < 0 || (burst && every < 1)) die("expected positive numbers");
    uint8_t *load;
    size_t length = packet_ins(&load);
    const uint8_t *end = load + length, *single = load, *flood = load;
    flows = calloc((size_t)flow_count, sizeof *flows);
    by_sequence = calloc((size_t)flow_count, sizeof *by_sequence);
    if (!flows || !by_sequence) die("out of memory");
    for (int n = 0; n < flow_count; n++) {
        flood = behind(flood, end);
        flows[n].sequence = r32(flood - FRAME + SEQUENCE_AT);
        by_sequence[n] = n;
    }
    qsort(by_sequence, (size_t)flow_count, sizeof *by_sequence, in_order);
    int64_t begun = now_ns(), heard = begun, next_flow = begun, next_burst = burst ? begun : INT64_MAX;
    for (int sent = 0; left;) {
        int64_t now = now_ns();
        if (next_burst <= now && next_burst <= next_flow) {
            const uint8_t *from = flood;
            for (int n = 0; n < burst && flood < end; n++) flood = behind(flood, end);
            append(from, (size_t)(flood - from));
            next_burst = flood < end ? next_burst + every : INT64_MAX;
            push();
        } else if (next_flow <= now) {
            const uint8_t *next = behind(single, end);
            append(single, (size_t)(next - single));
            single = next;
            flows[sent].sent = now_ns();
            next_flow = ++sent < flow_count ? next_flow + interval : INT64_MAX;
            push();
        } else {
            int64_t due = next_flow < next_burst ? next_flow : next_burst, most = SILENCE_S * 1000000000ll;
            int64_t wait = due - now < most ? due - now : most;
            struct timespec patience = {wait / 1000000000, wait % 1000000000};
            struct pollfd ready = {connection, (short)(POLLIN | (out_begin < out_end ? POLLOUT : 0)), 0};
            if (ppoll(&ready, 1, &patience, NULL) > 0) {
                if (ready.revents & ~POLLOUT) heard = now_ns(), take();
                push();
            } else if (now_ns() - heard > most) {
                die("%d flows were not set up", left);
            }
        }
    }
    for (int n = 0; n < flow_count; n++) printf("%lld\n", (long long)(flows[n].out - flows[n].sent));
    return 0;
}
