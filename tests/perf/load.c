/* The load generator: N OpenFlow 1.3 switches in one process, that cost next to nothing.
 *
 *   load switches --port P [options]     be the switches, send packets of new flows, check and time the answers
 *   load reflect --forward HEX --back HEX --out HEX
 *                                        be a controller that decides nothing, to show what the generator can do
 *
 * `python -m perf.load` builds it and calls it; docs/performance.md says what it does. Sessions have numbers from 1,
 * in order of the switches; each switch has as many, and the last fifth of these are servers. Two are the least that a
 * switch with any has: with as many sessions as switches every other switch has none, in place of flows that all are
 * between two switches and so twice the work. A flow is within its switch or, with --across, between two of the same
 * ten. It is a TCP SYN from a client to a server whose sequence number is the flow's own number, so that every
 * answer says which flow it is about. Every answer is checked: the match of both directions, subject and object in
 * metadata and cookie, the packet byte for byte and its port. What a controller writes into the tables is kept and given
 * back when it reads them; probes of links arrive at the other end. One thread, epoll; everything is made before the
 * clock runs.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, EXPERIMENTER, FEATURES_REQUEST, FEATURES_REPLY, CONFIG_REQUEST };
enum { CONFIG_REPLY = 8, PACKET_IN = 10, FLOW_REMOVED, PACKET_OUT = 13, FLOW_MOD, METER_MOD = 29 };
enum { MULTIPART_REQUEST = 18, MULTIPART_REPLY, BARRIER_REQUEST, BARRIER_REPLY, ROLE_REQUEST = 24, ROLE_REPLY };
enum { DESC, FLOW_STATS, AGGREGATE, TABLE_STATS, METER_STATS = 9, METER_CONFIG = 10, METER_FEATURES, PORT_DESC = 13 };
enum { ONF = 0x4F4E4600, BUNDLE_CONTROL = 2300, BUNDLE_ADD, BUNDLE_COMMIT = 4 };
enum { FRAME = 74, SYN_AT = 38, SERVICE = 443, FIRST_SPORT = 20000, LAST_SPORT = 65535, SLOT = 192, SILENCE = 20,
       TRY_AGAIN = 2 /* seconds, as all times here */ };
enum { OWN_THERE = 1, OWN_BACK = 2, FAR_THERE = 4, FAR_BACK = 8, OUT = 16, ANY_OUT = 32 };
enum { IN_CAP = 1 << 20, OUT_CAP = 1 << 22, MAX_RULES = 4096 };

#define OXM_IN_PORT 0x80000004u
#define OXM_METADATA 0x80000408u
#define OXM_REG0 0x00010004u
#define PARTIES 0xFFFFFFFFFFFF0000ull

/* What the command line says. */
static int port, switches = 1, sessions = 100, mods = 2, window = 256, across, gate, learn, pipeline = 1, check_port = 1;
static int ends_flows, batches = 1, warm = 500, single = 2000, many = 15000, table_source = 1, table_destination = 2;
static int table_flow = 3, table_rule = 4, reason_lldp = 0xFF0E, with_links = 1, deliver = 1, ports = 48;
static double settle = 0.3;
static int in_turns; /* a batch begins when it is asked for at standard input */
static int rest; /* seconds that a controller is watched for when it has nothing more to do */
static uint64_t first_dpid = 0x5A00000001ull;
static long watched;

static int per_switch, clients, servers, senders, trunks, zone;
static int64_t slot_room;

typedef struct {
    uint8_t *raw; /* the flow-mod that made it, whole */
    uint32_t length, since;
    uint16_t match_length;
} Entry;

typedef struct {
    int fd, index;
    uint8_t *in, *out;
    size_t in_length, out_begin, out_end;
    const uint8_t *load; /* packet-ins of this phase, one after the other */
    size_t load_sent;    /* bytes */
    int64_t sent, done, total;
    bool described, committed, waits_for_room, echoed;
    Entry *entries;
    size_t entry_count, entry_room;
    int *hash;
    size_t hash_size;
    struct { uint32_t id; uint8_t bands[16]; uint16_t flags; } *meters;
    size_t meter_count, meter_room;
} Switch;

typedef struct { uint32_t src, dst, in_port; uint16_t sport, dport; uint64_t metadata, mask; } Seen;

static Switch *all;
static int poller;
static uint8_t *state, *kept_alive;
static uint8_t (*slots)[2][SLOT];
static int64_t flow_count, completed, rejected_late;
static uint32_t *class_of;       /* by session number: the class as subject, from its entry in `source` */
static uint32_t *class_to;       /* as object, from its entry in `destination` */
static struct { uint32_t a, a_mask, b, b_mask; uint16_t priority, dport, dport_mask; bool has_port; uint16_t number; } rules[MAX_RULES];
static int rule_count;
static int64_t last_heard, octets_sent, octets_heard, messages_heard;
static int *dirty, dirty_count;
static bool *is_dirty;
static size_t packet_in_size;

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
static uint64_t r64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return be64toh(v); }
static void w16(uint8_t *p, uint16_t v) { v = htobe16(v); memcpy(p, &v, 2); }
static void w32(uint8_t *p, uint32_t v) { v = htobe32(v); memcpy(p, &v, 4); }
static void w64(uint8_t *p, uint64_t v) { v = htobe64(v); memcpy(p, &v, 8); }

/* The rules of a flow, as its own switch was told them: room that flows which are over leave to others. */
static uint8_t (*slot_of(int64_t n))[SLOT] { return slots[n % slot_room]; }

static int64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000ll + at.tv_nsec;
}

static int64_t own_cpu_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return at.tv_sec * 1000000000ll + at.tv_nsec;
}

static void *must(void *memory) {
    if (!memory) die("out of memory");
    return memory;
}

/* Processor time of every thread of the processes in the session that the controller leads; 0 if not known. */
static int64_t session_cpu_ns(void) {
    if (!watched) return 0;
    int64_t sum = 0;
    DIR *processes = opendir("/proc");
    if (!processes) return 0;
    for (struct dirent *one; (one = readdir(processes));) {
        if (!isdigit((unsigned char)one->d_name[0])) continue;
        char name[640], text[512];
        snprintf(name, sizeof name, "/proc/%s/stat", one->d_name);
        int fd = open(name, O_RDONLY);
        if (fd < 0) continue;
        ssize_t length = read(fd, text, sizeof text - 1);
        close(fd);
        if (length <= 0) continue;
        text[length] = 0;
        char *after = strrchr(text, ')');
        long session = 0;
        if (!after || sscanf(after + 1, " %*c %*d %*d %ld", &session) != 1 || session != watched) continue;
        snprintf(name, sizeof name, "/proc/%s/task", one->d_name);
        DIR *threads = opendir(name);
        if (!threads) continue;
        for (struct dirent *thread; (thread = readdir(threads));) {
            if (!isdigit((unsigned char)thread->d_name[0])) continue;
            snprintf(name, sizeof name, "/proc/%s/task/%s/schedstat", one->d_name, thread->d_name);
            if ((fd = open(name, O_RDONLY)) < 0) continue;
            length = read(fd, text, sizeof text - 1);
            close(fd);
            if (length > 0) { text[length] = 0; sum += strtoll(text, NULL, 10); }
        }
        closedir(threads);
    }
    closedir(processes);
    return sum;
}

/* ---- who is where, and which flow is between whom ---- */

static uint32_t address_of(int index) { return 0x0A400000u + (uint32_t)index + 1; }

static void mac_of(int index, uint8_t *mac) {
    mac[0] = 2, mac[1] = 0;
    w32(mac + 2, 0x0A000000u | (uint32_t)(index + 1));
}

/* The last fifth of the ports have servers: within a port nothing is sent back. */
static int port_of(int index) {
    int j = index % per_switch, for_servers = ports / 5 > 1 ? ports / 5 : 1;
    return j < clients ? 1 + j % (ports - for_servers) : 1 + ports - for_servers + (j - clients) % for_servers;
}

static void lay_out(void) {
    per_switch = sessions / switches > 2 ? sessions / switches : 2;
    if (sessions % switches || sessions % per_switch)
        die("%d sessions cannot be spread over %d switches evenly, two or more at each", sessions, switches);
    senders = sessions / per_switch;
    if (ports > per_switch) ports = per_switch;
    zone = senders < 10 ? senders : 10;
    if (senders % zone) die("there must be less than ten switches with sessions, or ten times some number");
    trunks = switches > 1 && with_links ? 11 : 0;
    servers = per_switch / 5 ? per_switch / 5 : 1;
    clients = per_switch - servers;
    if (senders == 1) across = 0;
}

/* The two ends of flow n, and its source port. */
static void flow_ends(int64_t n, int *client, int *server, int *sport) {
    int s = (int)(n % senders);
    int64_t m = n / senders, q = m / clients;
    int j = (int)(m % clients), first = s / zone * zone;
    int t = across ? (int)(first + (s - first + 1 + m % (zone - 1)) % zone) : s;
    *client = s * per_switch + j;
    *server = t * per_switch + clients + (int)((j + q) % servers);
    int64_t number = FIRST_SPORT + q / servers;
    if (number > LAST_SPORT) die("more flows than there are source ports");
    *sport = (int)number;
}

/* The flow from one address and port to another and in which direction (0 there, 1 back); -1 for none of ours. */
static int64_t flow_between(const Seen *seen, int *direction) {
    uint32_t from = seen->src, to = seen->dst;
    int sport = seen->sport;
    *direction = 0;
    if (seen->dport != SERVICE || seen->sport < FIRST_SPORT) {
        if (seen->sport != SERVICE) return -1;
        *direction = 1;
        from = seen->dst, to = seen->src, sport = seen->dport;
    }
    int64_t client = (int64_t)from - 0x0A400000u - 1, server = (int64_t)to - 0x0A400000u - 1, q, n;
    if (client < 0 || server < 0 || client >= sessions || server >= sessions || sport < FIRST_SPORT) return -1;
    int64_t s = client / per_switch, j = client % per_switch, v = server % per_switch - clients;
    if (j >= clients || v < 0) return -1;
    q = (int64_t)(sport - FIRST_SPORT) * servers + (v + servers - j % servers) % servers;
    int64_t m = q * clients + j;
    int64_t first = s / zone * zone, t = across ? first + (s - first + 1 + m % (zone - 1)) % zone : s;
    if (server / per_switch != t) return -1;
    n = m * senders + s;
    return n < flow_count ? n : -1;
}

static void build_frame(int64_t n, uint8_t *p) {
    int client, server, sport;
    flow_ends(n, &client, &server, &sport);
    memset(p, 0, FRAME);
    mac_of(server, p);
    mac_of(client, p + 6);
    w16(p + 12, 0x0800);
    p[14] = 0x45;
    w16(p + 16, 60);
    w16(p + 20, 0x4000);
    p[22] = 64, p[23] = 6;
    w32(p + 26, address_of(client));
    w32(p + 30, address_of(server));
    w16(p + 34, (uint16_t)sport);
    w16(p + 36, SERVICE);
    w32(p + SYN_AT, (uint32_t)n);
    p[46] = 0xA0, p[47] = 2;
    w16(p + 48, 64240);
    memcpy(p + 54, "\x02\x04\x05\xb4\x04\x02\x08\x0a\0\0\0\0\0\0\0\0\x01\x03\x03\x07", 20);
}

/* ---- what a packet-in says ---- */

static uint16_t rule_between(uint32_t a, uint32_t b) {
    int best = -1;
    for (int i = 0; i < rule_count; i++) {
        if ((a & rules[i].a_mask) != rules[i].a || (b & rules[i].b_mask) != rules[i].b) continue;
        if (rules[i].has_port && (SERVICE & rules[i].dport_mask) != rules[i].dport) continue;
        if (best < 0 || rules[i].priority > rules[best].priority) best = i;
    }
    return best < 0 ? (rule_count ? rules[0].number : 1) : rules[best].number;
}

static size_t build_packet_in(uint8_t *p, int in_port, int table, uint64_t cookie, int reason, const uint8_t *fields,
                              size_t fields_length, const uint8_t *frame, size_t frame_length) {
    size_t match = 4 + fields_length, padded = (match + 7) / 8 * 8, length = 24 + padded + 2 + frame_length;
    (void)in_port;
    memset(p, 0, 24 + padded + 2);
    p[0] = 4, p[1] = PACKET_IN;
    w16(p + 2, (uint16_t)length);
    w32(p + 8, 0xFFFFFFFF);
    w16(p + 12, (uint16_t)frame_length);
    p[14] = (uint8_t)reason, p[15] = (uint8_t)table;
    w64(p + 16, cookie);
    w16(p + 24, 1);
    w16(p + 26, (uint16_t)match);
    memcpy(p + 28, fields, fields_length);
    memcpy(p + 24 + padded + 2, frame, frame_length);
    return length;
}

static size_t build_new_flow(int64_t n, uint8_t *p) {
    uint8_t frame[FRAME], fields[64];
    int client, server, sport;
    flow_ends(n, &client, &server, &sport);
    build_frame(n, frame);
    w32(fields, OXM_IN_PORT);
    w32(fields + 4, (uint32_t)port_of(client));
    if (!pipeline) return build_packet_in(p, 0, 0, 0, 0, fields, 8, frame, FRAME);
    uint32_t a = class_of[client + 1], b = class_to[server + 1];
    w32(fields + 8, OXM_METADATA);
    w64(fields + 12, (uint64_t)(client + 1) << 40 | (uint64_t)(server + 1) << 16);
    const uint32_t registers[4] = {a, b, (uint32_t)(server / per_switch + 1), (uint32_t)port_of(server)};
    for (unsigned i = 0; i < 4; i++) {
        w32(fields + 20 + 8 * i, OXM_REG0 + 0x200 * i);
        w32(fields + 24 + 8 * i, registers[i]);
    }
    return build_packet_in(p, 0, table_rule, rule_between(a, b), 1, fields, 52, frame, FRAME);
}

/* The first packet of a server, by which a learning switch gets to know where it is. */
static size_t build_lesson(int server, uint8_t *p) {
    uint8_t frame[FRAME], fields[8], mac[6];
    int client, peer, sport;
    flow_ends(0, &client, &peer, &sport);
    client = server / per_switch * per_switch;
    build_frame(0, frame);
    mac_of(client, frame);
    mac_of(server, mac);
    memcpy(frame + 6, mac, 6);
    w32(frame + 26, address_of(server));
    w32(frame + 30, address_of(client));
    w16(frame + 34, 9);
    w16(frame + 36, 9);
    w32(frame + SYN_AT, 0xFFFFFFFF);
    w32(fields, OXM_IN_PORT);
    w32(fields + 4, (uint32_t)port_of(server));
    return build_packet_in(p, 0, 0, 0, 0, fields, 8, frame, FRAME);
}

/* ---- writing ---- */

static void push(Switch *sw);

/* Wait until the controller has read something: it may be behind, as with anything else to do. */
static void wait_for_room(Switch *sw) {
    struct pollfd out = {.fd = sw->fd, .events = POLLOUT};
    int ready = poll(&out, 1, SILENCE * 1000);
    if (ready == 0) die("switch %d: the controller does not read", sw->index);
    push(sw);
}

static void queue(Switch *sw, const void *data, size_t length) {
    if (sw->out_begin == sw->out_end) sw->out_begin = sw->out_end = 0;
    if (sw->out_end + length > OUT_CAP) {
        memmove(sw->out, sw->out + sw->out_begin, sw->out_end - sw->out_begin);
        sw->out_end -= sw->out_begin, sw->out_begin = 0;
        while (sw->out_end - sw->out_begin + length > OUT_CAP) wait_for_room(sw);
        memmove(sw->out, sw->out + sw->out_begin, sw->out_end - sw->out_begin);
        sw->out_end -= sw->out_begin, sw->out_begin = 0;
    }
    memcpy(sw->out + sw->out_end, data, length);
    sw->out_end += length;
}

static void answer(Switch *sw, int kind, uint32_t xid, const void *body, size_t length) {
    uint8_t head[8] = {4, (uint8_t)kind};
    w16(head + 2, (uint16_t)(8 + length));
    w32(head + 4, xid);
    queue(sw, head, 8);
    if (length) queue(sw, body, length);
    if (!sw->waits_for_room) push(sw);
}

static void want_room(Switch *sw, bool wanted) {
    if (sw->waits_for_room == wanted) return;
    sw->waits_for_room = wanted;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = sw};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, sw->fd, &event)) die("epoll_ctl: %s", strerror(errno));
}

static size_t write_some(Switch *sw, const uint8_t *data, size_t length) {
    ssize_t done = send(sw->fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (done < 0) {
        if (errno != EAGAIN && errno != EINTR) die("switch %d: %s", sw->index, strerror(errno));
        done = 0;
    }
    octets_sent += done;
    return (size_t)done;
}

/* Send what is due: the rest of a message that was cut, then answers, then packet-ins that the window has room for. */
static void push(Switch *sw) {
    bool full = false;
    size_t cut = packet_in_size ? sw->load_sent % packet_in_size : 0;
    if (cut) {
        size_t rest = packet_in_size - cut, done = write_some(sw, sw->load + sw->load_sent, rest);
        sw->load_sent += done;
        full = done < rest;
    }
    if (!full && sw->out_begin < sw->out_end) {
        sw->out_begin += write_some(sw, sw->out + sw->out_begin, sw->out_end - sw->out_begin);
        full = sw->out_begin < sw->out_end;
    }
    size_t due = (size_t)sw->sent * packet_in_size;
    if (!full && sw->load_sent < due) {
        sw->load_sent += write_some(sw, sw->load + sw->load_sent, due - sw->load_sent);
        full = sw->load_sent < due;
    }
    want_room(sw, full);
}

/* ---- the tables, as the controller wrote them ---- */

static size_t hash_of(int table, int priority, const uint8_t *match, size_t length) {
    uint64_t hash = 1469598103934665603ull ^ (uint64_t)table << 16 ^ (uint64_t)priority;
    for (size_t i = 0; i < length; i++) hash = (hash ^ match[i]) * 1099511628211ull;
    return hash ^ hash >> 29;
}

static size_t padded_match(const uint8_t *mod) { return (r16(mod + 50) + 7u) / 8 * 8; }

static bool same_entry(const Entry *entry, const uint8_t *mod, size_t match_length) {
    return entry->raw && entry->raw[24] == mod[24] && !memcmp(entry->raw + 30, mod + 30, 2) &&
           entry->match_length == match_length && !memcmp(entry->raw + 48, mod + 48, match_length);
}

static void grow_hash(Switch *sw) {
    free(sw->hash);
    sw->hash_size = sw->hash_size ? sw->hash_size * 2 : 4096;
    sw->hash = must(malloc(sw->hash_size * sizeof *sw->hash));
    memset(sw->hash, 0xFF, sw->hash_size * sizeof *sw->hash);
    for (size_t i = 0; i < sw->entry_count; i++) {
        if (!sw->entries[i].raw) continue;
        const uint8_t *raw = sw->entries[i].raw;
        size_t at = hash_of(raw[24], r16(raw + 30), raw + 48, sw->entries[i].match_length) & (sw->hash_size - 1);
        while (sw->hash[at] >= 0) at = (at + 1) & (sw->hash_size - 1);
        sw->hash[at] = (int)i;
    }
}

static Entry *find_entry(Switch *sw, const uint8_t *mod, size_t match_length, size_t *place) {
    if (!sw->hash_size) grow_hash(sw);
    size_t at = hash_of(mod[24], r16(mod + 30), mod + 48, match_length) & (sw->hash_size - 1);
    for (; sw->hash[at] >= 0; at = (at + 1) & (sw->hash_size - 1))
        if (same_entry(&sw->entries[sw->hash[at]], mod, match_length)) return &sw->entries[sw->hash[at]];
    *place = at;
    return NULL;
}

static void next_oxm(const uint8_t **at, const uint8_t *end, uint32_t *header, const uint8_t **value) {
    if (end - *at < 4 || *at + 4 + (*at)[3] > end) die("a match with a truncated field");
    *header = r32(*at);
    *value = *at + 4;
    *at += 4 + (*at)[3];
}

/* What entries of the pipeline say that packet-ins have to say again: classes of sessions, numbers of rules. */
static void learn_from(const uint8_t *mod, size_t length, size_t match_length) {
    int table = mod[24];
    uint64_t cookie = r64(mod + 8);
    if (table == table_source || table == table_destination) {
        uint32_t number = (uint32_t)(table == table_source ? cookie >> 40 : cookie >> 16 & 0xFFFFFF);
        if (!number || number > (uint32_t)sessions) return;
        for (size_t at = 48 + match_length; at + 8 <= length && r16(mod + at + 2) >= 8; at += r16(mod + at + 2)) {
            if (r16(mod + at) != 4) continue; /* apply-actions */
            size_t end = at + r16(mod + at + 2);
            for (size_t action = at + 8; action + 8 <= end && r16(mod + action + 2) >= 8; action += r16(mod + action + 2)) {
                if (r16(mod + action) != 25) continue; /* set-field */
                uint32_t header = r32(mod + action + 4);
                if (table == table_source && header == OXM_REG0) class_of[number] = r32(mod + action + 8);
                if (table == table_destination && header == OXM_REG0 + 0x200) class_to[number] = r32(mod + action + 8);
            }
        }
    } else if (table == table_rule && (cookie & 0xFFFF) && (cookie & 0xFFFF) <= 0xFEFF && rule_count < MAX_RULES) {
        const uint8_t *at = mod + 52, *end = mod + 48 + r16(mod + 50), *value;
        uint32_t header;
        memset(&rules[rule_count], 0, sizeof rules[0]);
        rules[rule_count].number = (uint16_t)(cookie & 0xFFFF);
        rules[rule_count].priority = r16(mod + 30);
        bool other = false;
        while (at < end) {
            next_oxm(&at, end, &header, &value);
            uint32_t field = header >> 9, has_mask = header >> 8 & 1;
            if (field == 0x0001 << 7 || field == (0x0001 << 7 | 1)) {
                uint32_t v = r32(value), m = has_mask ? r32(value + 4) : 0xFFFFFFFF;
                if (field & 1) rules[rule_count].b = v, rules[rule_count].b_mask = m;
                else rules[rule_count].a = v, rules[rule_count].a_mask = m;
            } else if (field == (0x8000 << 7 | 14)) { /* tcp_dst */
                rules[rule_count].has_port = true;
                rules[rule_count].dport = r16(value);
                rules[rule_count].dport_mask = has_mask ? r16(value + 2) : 0xFFFF;
            } else if (field == (0x8000 << 7 | 10)) other |= *value != 6; /* ip_proto */
            else if (field == (0x8000 << 7 | 5)) other |= r16(value) != 0x0800;
            else if (field == (0x8000 << 7 | 13)) other = true; /* tcp_src: the way back */
        }
        if (!other) rule_count++;
    }
}

static void keep_entry(Switch *sw, const uint8_t *mod, size_t length) {
    size_t match_length = padded_match(mod), place = 0;
    if (52 + match_length > length + 4) die("a flow-mod with a truncated match");
    int command = mod[25];
    if (command == 0) {
        Entry *entry = find_entry(sw, mod, match_length, &place);
        if (!entry) {
            if (sw->entry_count == sw->entry_room) {
                sw->entry_room = sw->entry_room ? sw->entry_room * 2 : 1024;
                sw->entries = must(realloc(sw->entries, sw->entry_room * sizeof *sw->entries));
            }
            sw->hash[place] = (int)sw->entry_count;
            entry = &sw->entries[sw->entry_count++];
            entry->raw = NULL;
        }
        free(entry->raw);
        entry->raw = must(malloc(length));
        memcpy(entry->raw, mod, length);
        entry->length = (uint32_t)length;
        entry->match_length = (uint16_t)match_length;
        entry->since = (uint32_t)(now_ns() / 1000000000);
        if (sw->entry_count * 2 > sw->hash_size) grow_hash(sw);
        learn_from(mod, length, match_length);
    } else if (command == 3) {
        bool every = r16(mod + 50) == 4, every_table = mod[24] == 0xFF;
        uint64_t mask = r64(mod + 16);
        for (size_t i = 0; i < sw->entry_count; i++) {
            Entry *entry = &sw->entries[i];
            if (!entry->raw || (!every_table && entry->raw[24] != mod[24])) continue;
            if ((r64(entry->raw + 8) & mask) != (r64(mod + 8) & mask)) continue;
            if (!every && (entry->match_length != match_length || memcmp(entry->raw + 48, mod + 48, match_length))) continue;
            free(entry->raw);
            entry->raw = NULL;
        }
        grow_hash(sw);
    } else if (command == 4) {
        Entry *entry = find_entry(sw, mod, match_length, &place);
        if (entry) free(entry->raw), entry->raw = NULL, grow_hash(sw);
    }
}

/* ---- reading the tables back ---- */

static uint8_t page[65536];
static size_t page_length;

static void page_begin(int kind) {
    memset(page, 0, 16);
    page[0] = 4, page[1] = MULTIPART_REPLY;
    w16(page + 8, (uint16_t)kind);
    page_length = 16;
}

static void page_end(Switch *sw, uint32_t xid, bool more) {
    w16(page + 2, (uint16_t)page_length);
    w32(page + 4, xid);
    w16(page + 10, more);
    queue(sw, page, page_length);
    if (!sw->waits_for_room) push(sw);
}

static uint8_t *page_room(Switch *sw, uint32_t xid, int kind, size_t length) {
    if (page_length + length > 65000) {
        page_end(sw, xid, true);
        page_begin(kind);
    }
    uint8_t *p = page + page_length;
    page_length += length;
    return p;
}

/* The fields of a per-flow rule's match in the order in which Open vSwitch reports them. */
static void in_order(uint8_t *match) {
    uint8_t found[128];
    size_t length = r16(match + 2);
    if (length < 67 || length > sizeof found || r32(match + 4) != 0x80000510) return;
    size_t ports = 51 + 2 * (4 + (size_t)match[54]), at = 4;
    if (ports > length) return;
    memcpy(found, match, length);
    memcpy(match + at, found + 40, 6), at += 6;                         /* EtherType */
    memcpy(match + at, found + 51, ports - 51), at += ports - 51;       /* addresses */
    memcpy(match + at, found + 46, 5), at += 5;                         /* protocol */
    memcpy(match + at, found + ports, length - ports), at += length - ports;
    memcpy(match + at, found + 24, 16), at += 16;                       /* classes */
    memcpy(match + at, found + 4, 20);                                  /* metadata */
}

static int64_t read_back; /* entries that the controller has been told of */

static void write_stats(Switch *sw, uint32_t xid, const uint8_t *mod, size_t length, uint32_t since, bool notify) {
    size_t body = length - 48;
    uint8_t *p = page_room(sw, xid, FLOW_STATS, 48 + body);
    read_back++;
    memset(p, 0, 48);
    w16(p, (uint16_t)(48 + body));
    p[2] = mod[24];
    w32(p + 4, (uint32_t)(now_ns() / 1000000000) - since);
    memcpy(p + 12, mod + 30, 2); /* priority */
    memcpy(p + 14, mod + 26, 4); /* both timeouts */
    w16(p + 18, notify ? r16(mod + 44) : (uint16_t)(r16(mod + 44) & ~1));
    memcpy(p + 24, mod + 8, 8);
    memcpy(p + 48, mod + 48, body);
    if (mod[24] == table_flow) in_order(p + 48);
}

static void flow_stats(Switch *sw, uint32_t xid, const uint8_t *request) {
    int table = request[16];
    page_begin(FLOW_STATS);
    for (size_t i = 0; i < sw->entry_count; i++)
        if (sw->entries[i].raw && (table == 0xFF || sw->entries[i].raw[24] == table))
            write_stats(sw, xid, sw->entries[i].raw, sw->entries[i].length, sw->entries[i].since, true);
    for (int64_t n = 0; slots && (table == table_flow || table == 0xFF) && n < flow_count; n++) {
        if (!kept_alive[n]) continue;
        int client, server, sport;
        flow_ends(n, &client, &server, &sport);
        bool own = client / per_switch == sw->index;
        if (!own && server / per_switch != sw->index) continue;
        for (int way = 0; way < 2; way++)
            if (kept_alive[n] & 1 << way) {
                const uint8_t *mod = slot_of(n)[way];
                write_stats(sw, xid, mod, r16(mod + 2), (uint32_t)(now_ns() / 1000000000), own);
            }
    }
    page_end(sw, xid, false);
}

static void port_descriptions(Switch *sw, uint32_t xid) {
    page_begin(PORT_DESC);
    for (int number = 1; number <= ports + trunks; number++) {
        uint8_t *p = page_room(sw, xid, PORT_DESC, 64);
        memset(p, 0, 64);
        w32(p, (uint32_t)number);
        p[8] = 2, p[9] = 0x70;
        w32(p + 10, (uint32_t)(sw->index << 12 | number));
        snprintf((char *)p + 16, 16, "port%d", number);
        w32(p + 36, 4); /* live */
    }
    page_end(sw, xid, false);
    sw->described = true;
}

static void multipart(Switch *sw, uint32_t xid, const uint8_t *message) {
    int kind = r16(message + 8);
    if (kind == PORT_DESC) {
        port_descriptions(sw, xid);
    } else if (kind == FLOW_STATS) {
        flow_stats(sw, xid, message);
    } else if (kind == METER_CONFIG) {
        page_begin(kind);
        for (size_t i = 0; i < sw->meter_count; i++) {
            uint8_t *p = page_room(sw, xid, kind, 24);
            w16(p, 24);
            w16(p + 2, sw->meters[i].flags);
            w32(p + 4, sw->meters[i].id);
            memcpy(p + 8, sw->meters[i].bands, 16);
        }
        page_end(sw, xid, false);
    } else if (kind == METER_STATS) {
        page_begin(kind);
        for (size_t i = 0; i < sw->meter_count; i++) {
            uint8_t *p = page_room(sw, xid, kind, 56);
            memset(p, 0, 56);
            w32(p, sw->meters[i].id);
            w16(p + 4, 56);
        }
        page_end(sw, xid, false);
    } else {
        page_begin(kind);
        if (kind == AGGREGATE) memset(page_room(sw, xid, kind, 24), 0, 24);
        if (kind == DESC) memset(page_room(sw, xid, kind, 1056), 0, 1056);
        page_end(sw, xid, false);
    }
}

static void keep_meter(Switch *sw, const uint8_t *message, size_t length) {
    if (length < 16) die("a truncated meter-mod");
    int command = r16(message + 8);
    uint32_t id = r32(message + 12);
    size_t at = 0;
    while (at < sw->meter_count && sw->meters[at].id != id) at++;
    if (command == 2) {
        if (at < sw->meter_count) sw->meters[at] = sw->meters[--sw->meter_count];
        return;
    }
    if (at == sw->meter_count) {
        if (sw->meter_count == sw->meter_room) {
            sw->meter_room = sw->meter_room ? 2 * sw->meter_room : 256;
            sw->meters = must(realloc(sw->meters, sw->meter_room * sizeof *sw->meters));
        }
        sw->meter_count++;
    }
    sw->meters[at].id = id;
    sw->meters[at].flags = r16(message + 10);
    memset(sw->meters[at].bands, 0, 16);
    memcpy(sw->meters[at].bands, message + 16, length >= 32 ? 16 : 0);
}

/* ---- the answers that are counted ---- */

static uint8_t complete_state(int64_t n) {
    uint8_t want = deliver ? OUT : 0;
    want |= mods == 2 ? OWN_THERE | OWN_BACK : OWN_THERE;
    if (pipeline && across) {
        int client, server, sport;
        flow_ends(n, &client, &server, &sport);
        if (client / per_switch != server / per_switch) want |= FAR_THERE | FAR_BACK;
    }
    return want;
}

static uint8_t whole; /* complete_state of every flow: all are within a switch, or none */

static void take(int64_t n, uint8_t bit) {
    if (state[n] & bit) { rejected_late++; return; }
    state[n] |= bit;
    if ((state[n] & whole) != whole || state[n] & ANY_OUT) return;
    state[n] |= ANY_OUT;
    completed++;
    int s = (int)(n % senders);
    all[s].done++;
    if (!is_dirty[s]) is_dirty[s] = true, dirty[dirty_count++] = s;
}

static void read_match(const uint8_t *mod, Seen *seen) {
    const uint8_t *at = mod + 52, *end = mod + 48 + r16(mod + 50), *value;
    uint32_t header;
    memset(seen, 0, sizeof *seen);
    while (at < end) {
        next_oxm(&at, end, &header, &value);
        switch (header) {
        case 0x80001604: seen->src = r32(value); break;
        case 0x80001804: seen->dst = r32(value); break;
        case 0x80001A02: seen->sport = r16(value); break;
        case 0x80001C02: seen->dport = r16(value); break;
        case 0x80000510: seen->metadata = r64(value); seen->mask = r64(value + 8); break;
        case OXM_IN_PORT: seen->in_port = r32(value); break;
        }
    }
}

static void flow_mod(Switch *sw, const uint8_t *mod, size_t length) {
    if (length < 56 || 48u + r16(mod + 50) > length) die("switch %d: a truncated flow-mod", sw->index);
    if (pipeline && mod[24] != table_flow) { keep_entry(sw, mod, length); return; }
    if (!r16(mod + 30)) { /* priority 0: a table miss */
        if (pipeline) keep_entry(sw, mod, length);
        return;
    }
    Seen seen;
    int way;
    read_match(mod, &seen);
    int64_t n = flow_between(&seen, &way);
    if (n < 0) {
        if (pipeline && !seen.src && !seen.dst) keep_entry(sw, mod, length); /* the table's other entries */
        else if (pipeline && mod[25] == 0) die("switch %d: a per-flow rule that belongs to no flow", sw->index);
        return;
    }
    if (mod[25] == 3 || mod[25] == 4) { kept_alive[n] &= (uint8_t)~(1 << way); return; }
    int client, server, sport;
    flow_ends(n, &client, &server, &sport);
    bool own = client / per_switch == sw->index;
    if (!own && server / per_switch != sw->index) die("switch %d got a rule of a flow that is elsewhere", sw->index);
    if (pipeline) {
        uint64_t there = (uint64_t)(client + 1) << 40 | (uint64_t)(server + 1) << 16;
        uint64_t back = (uint64_t)(server + 1) << 40 | (uint64_t)(client + 1) << 16;
        if (seen.mask != PARTIES || seen.metadata != (way ? back : there)) die("flow %ld: wrong metadata", (long)n);
        uint64_t cookie = r64(mod + 8);
        if ((cookie & PARTIES) != there || !(cookie & 0xFFFF)) die("flow %ld: wrong cookie %lx", (long)n, (long)cookie);
        if (own) {
            if (length > SLOT) die("a per-flow rule of %zu bytes", length);
            memcpy(slot_of(n)[way], mod, length);
            kept_alive[n] |= (uint8_t)(1 << way);
        }
    }
    uint8_t bit = (uint8_t)(own ? (way ? OWN_BACK : OWN_THERE) : (way ? FAR_BACK : FAR_THERE));
    /* A flow that has ended at its subject's switch: what the other one still holds is left to run out. */
    if (pipeline && !own && state[n] & bit && !(kept_alive[n] & 3) && r16(mod + 26)) return;
    take(n, bit);
}

static void relay_probe(Switch *sw, uint32_t out, const uint8_t *frame, size_t length) {
    /* Switch i hangs on switch (i - 1) / 10: its first trunk goes up, the ten after it down. */
    int place = (int)out - ports - 1, other, other_port;
    if (place < 0 || place >= trunks || length > 1500) return;
    if (place == 0) {
        if (!sw->index) return;
        other = (sw->index - 1) / 10;
        other_port = ports + 2 + (sw->index - 1) % 10;
    } else {
        other = sw->index * 10 + place;
        other_port = ports + 1;
        if (other >= switches) return;
    }
    uint8_t fields[8], message[1700];
    w32(fields, OXM_IN_PORT);
    w32(fields + 4, (uint32_t)other_port);
    size_t size = build_packet_in(message, 0, 0, (uint64_t)reason_lldp, 1, fields, 8, frame, length);
    queue(&all[other], message, size);
    if (!all[other].waits_for_room) push(&all[other]);
}

static void packet_out(Switch *sw, const uint8_t *message, size_t length) {
    size_t actions = length >= 24 ? r16(message + 16) : 0;
    if (length < 24 + actions) die("switch %d: a truncated packet-out", sw->index);
    const uint8_t *frame = message + 24 + actions;
    size_t frame_length = length - 24 - actions;
    uint32_t out = 0;
    for (size_t at = 0; at + 8 <= actions && r16(message + 24 + at + 2) >= 8; at += r16(message + 24 + at + 2))
        if (r16(message + 24 + at) == 0) out = r32(message + 24 + at + 4);
    if (frame_length < 14 || r16(frame + 12) != 0x0800) {
        if (frame_length >= 14 && r16(frame + 12) == 0x88CC) relay_probe(sw, out, frame, frame_length);
        return;
    }
    if (frame_length != FRAME) die("switch %d: a packet of %zu bytes came out", sw->index, frame_length);
    uint32_t n = r32(frame + SYN_AT);
    if (n == 0xFFFFFFFF) { completed++; return; } /* a lesson */
    if (n >= flow_count) die("a packet of a flow that was not sent came out");
    uint8_t expected[FRAME];
    build_frame(n, expected);
    if (memcmp(expected, frame, FRAME)) die("flow %u: another packet came out", n);
    int client, server, sport;
    flow_ends(n, &client, &server, &sport);
    if (server / per_switch != sw->index) die("flow %u: its packet came out of switch %d", n, sw->index);
    if (check_port && out != (uint32_t)port_of(server)) die("flow %u: its packet came out of port %u", n, out);
    take(n, OUT);
}

static void experimenter(Switch *sw, uint32_t xid, const uint8_t *message, size_t length) {
    if (length < 24 || r32(message + 8) != ONF) return;
    uint32_t kind = r32(message + 12);
    if (kind == BUNDLE_ADD) {
        if (length > 24 + 8 && message[25] == FLOW_MOD) flow_mod(sw, message + 24, r16(message + 26));
    } else if (kind == BUNDLE_CONTROL) {
        uint8_t body[16];
        memcpy(body, message + 8, 16);
        w16(body + 12, (uint16_t)(r16(message + 20) + 1));
        w16(body + 14, 0);
        answer(sw, EXPERIMENTER, xid, body, 16);
        if (r16(message + 20) == BUNDLE_COMMIT) sw->committed = true;
    }
}

static void handle(Switch *sw, const uint8_t *m, size_t length) {
    uint32_t xid = r32(m + 4);
    switch (m[1]) {
    case FLOW_MOD: flow_mod(sw, m, length); break;
    case PACKET_OUT: packet_out(sw, m, length); break;
    case ECHO_REQUEST: answer(sw, ECHO_REPLY, xid, m + 8, length - 8); break;
    case ECHO_REPLY: sw->echoed = true; break;
    case BARRIER_REQUEST: answer(sw, BARRIER_REPLY, xid, NULL, 0); break;
    case MULTIPART_REQUEST:
        if (length < 16 + (r16(m + 8) == FLOW_STATS ? 40 : 0)) die("a truncated multipart request");
        multipart(sw, xid, m);
        break;
    case METER_MOD: keep_meter(sw, m, length); break;
    case EXPERIMENTER: experimenter(sw, xid, m, length); break;
    case FEATURES_REQUEST: {
        uint8_t body[24] = {0};
        w64(body, first_dpid + (uint64_t)sw->index);
        body[12] = 254;
        w32(body + 16, 0x4F);
        answer(sw, FEATURES_REPLY, xid, body, 24);
        break;
    }
    case CONFIG_REQUEST: answer(sw, CONFIG_REPLY, xid, "\0\0\xFF\xFF", 4); break;
    case ROLE_REQUEST: answer(sw, ROLE_REPLY, xid, m + 8, length - 8); break;
    case ERROR: die("switch %d: the controller answered with an error of type %d code %d", sw->index, r16(m + 8), r16(m + 10));
    }
}

/* A controller at rest asks, too: whether a switch is there, what it holds, and where its trunks lead. */
static bool is_work(uint8_t type) {
    return type != ECHO_REQUEST && type != MULTIPART_REQUEST && type != BARRIER_REQUEST && type != PACKET_OUT;
}

static bool keeps_window; /* what is set up makes room for others at once */

static void refill(void) {
    for (int i = 0; i < dirty_count; i++) {
        Switch *sw = &all[dirty[i]];
        is_dirty[dirty[i]] = false;
        int64_t due = sw->done + window < sw->total ? sw->done + window : sw->total;
        /* Not one by one: a controller that answers each flow by itself would be sent the next ones so, too. */
        if (due > sw->sent && (due == sw->total || sw->sent - sw->done <= window / 2)) {
            sw->sent = due;
            if (!sw->waits_for_room) push(sw);
        }
    }
    dirty_count = 0;
}

static void receive(Switch *sw, int flags) {
    ssize_t got = recv(sw->fd, sw->in + sw->in_length, IN_CAP - sw->in_length, flags);
    if (got == 0) die("switch %d: the controller closed the connection; %ld flows are set up", sw->index, (long)completed);
    if (got < 0) {
        if (errno == EINTR || (errno == EAGAIN && flags)) return;
        die("switch %d: %s; %ld flows are set up", sw->index, errno == EAGAIN ? "silence" : strerror(errno), (long)completed);
    }
    sw->in_length += (size_t)got;
    size_t at = 0;
    while (sw->in_length - at >= 8) {
        size_t length = r16(sw->in + at + 2);
        if (length < 8) die("switch %d: a message of %zu bytes", sw->index, length);
        if (sw->in_length - at < length) break;
        if (is_work(sw->in[at + 1])) last_heard = 0;
        handle(sw, sw->in + at, length);
        at += length;
        messages_heard++, octets_heard += (int64_t)length;
        /* Not when all of it is read: controller and generator would then work by turns, and each wait for the other. */
        if (keeps_window) refill();
    }
    memmove(sw->in, sw->in + at, sw->in_length -= at);
}

/* Let the connections work; false if nothing came within so many milliseconds. */
static bool work(int milliseconds) {
    struct epoll_event events[64];
    int count = epoll_wait(poller, events, 64, milliseconds);
    if (count < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        Switch *sw = events[i].data.ptr;
        if (events[i].events & EPOLLOUT) push(sw);
        if (events[i].events & ~EPOLLOUT) receive(sw, MSG_DONTWAIT);
    }
    return count > 0;
}

/* ---- phases ---- */

static void connect_all(void) {
    poller = epoll_create1(EPOLL_CLOEXEC);
    all = must(calloc((size_t)switches, sizeof *all));
    for (int i = 0; i < switches; i++) {
        Switch *sw = &all[i];
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        struct timeval patience = {.tv_sec = SILENCE};
        int yes = 1;
        sw->index = i;
        sw->in = must(malloc(IN_CAP));
        sw->out = must(malloc(OUT_CAP));
        sw->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (sw->fd < 0 || connect(sw->fd, (struct sockaddr *)&to, sizeof to)) die("cannot connect: %s", strerror(errno));
        setsockopt(sw->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        setsockopt(sw->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = sw};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, sw->fd, &event)) die("epoll_ctl: %s", strerror(errno));
        answer(sw, HELLO, 1, NULL, 0);
    }
}

static bool is_greeted(bool reflected) {
    for (int i = 0; i < switches; i++)
        if (!reflected && !(pipeline ? all[i].committed : all[i].described)) return false;
    return true;
}

static int64_t rest_since;

/* Answer until every switch has its tables and nothing more has come for a while. */
static void handshake(bool reflected) {
    int64_t patience = 300ll * 1000000000, begun = now_ns();
    /* A controller that does not ask for ports is content with the features. */
    while (!is_greeted(reflected)) {
        if (!work(500) && !pipeline && now_ns() - begun > 1000000000) break;
        if (now_ns() - begun > patience) die("the handshake took more than five minutes");
    }
    rest_since = now_ns();
    while (!reflected && now_ns() - rest_since < (int64_t)(settle * 1e9)) {
        last_heard = 1;
        work(20);
        if (!last_heard) rest_since = now_ns();
        if (now_ns() - begun > patience) die("the controller does not come to rest");
    }
    if (!gate) return;
    printf("connected\n");
    fflush(stdout);
    struct pollfd in = {.fd = 0, .events = POLLIN};
    char line[16];
    while (poll(&in, 1, 0) == 0) work(20);
    if (read(0, line, sizeof line) <= 0) die("nobody opened the gate");
}

static uint8_t *phase_load;
static int64_t phase_first, sent_again;

/* Make the packet-ins of flows first … first + count - 1, one row for each switch that sends. */
static void make_load(int64_t first, int64_t count) {
    uint8_t one[512];
    packet_in_size = build_new_flow(first, one);
    size_t each = (size_t)(count / senders);
    free(phase_load);
    phase_first = first;
    phase_load = must(malloc(each * (size_t)senders * packet_in_size + sizeof one));
    for (int s = 0; s < senders; s++) {
        Switch *sw = &all[s];
        uint8_t *row = phase_load + (size_t)s * each * packet_in_size;
        for (size_t i = 0; i < each; i++)
            if (build_new_flow(first + (int64_t)i * senders + s, row + i * packet_in_size) != packet_in_size) die("sizes");
        sw->load = row;
        sw->load_sent = 0;
        sw->sent = sw->done = 0;
        sw->total = (int64_t)each;
    }
}

/* The first flow that was sent and is not set up, and what of it there is. */
static const char *what_is_missing(void) {
    static char text[200];
    for (int64_t n = 0; n < flow_count; n++)
        if (!(state[n] & ANY_OUT)) {
            snprintf(text, sizeof text, "flow %ld has state %x of %x", (long)n, state[n], whole);
            return text;
        }
    return "";
}

/* A controller drops what has waited too long for its turn. Hosts send again what is not answered. */
static void send_again(void) {
    for (int s = 0; s < senders; s++) {
        Switch *sw = &all[s];
        for (int64_t i = 0; i < sw->sent; i++)
            if (!(state[phase_first + i * senders + s] & ANY_OUT)) {
                queue(sw, sw->load + (size_t)i * packet_in_size, packet_in_size);
                sent_again++;
            }
        if (!sw->waits_for_room) push(sw);
    }
}

static void until_completed(int64_t due) {
    int64_t last = completed, since = now_ns(), tries = 1;
    while (completed < due) {
        work(1000);
        if (completed != last) last = completed, since = 0, tries = 1; /* the clock is looked at when nothing moves */
        else if (!since) since = now_ns();
        else if (now_ns() - since > tries * TRY_AGAIN * 1000000000ll && tries * TRY_AGAIN < SILENCE) send_again(), tries++;
        else if (now_ns() - since > SILENCE * 1000000000ll)
            die("no flow was set up for %d s; %ld of %ld are, %s", SILENCE, (long)completed, (long)due, what_is_missing());
    }
}

/* Nanoseconds that so many flows take, with a window of outstanding ones at each switch. */
static int64_t many_at_once(int64_t count) {
    int64_t due = completed + count, begun = now_ns();
    for (int s = 0; s < senders; s++)
        if (!is_dirty[s]) is_dirty[s] = true, dirty[dirty_count++] = s;
    keeps_window = true;
    refill();
    until_completed(due);
    keeps_window = false;
    return now_ns() - begun;
}

static void one_at_a_time(int64_t count, int64_t *taken) {
    for (int64_t i = 0; i < count; i++) {
        Switch *sw = &all[i % senders];
        int64_t due = completed + 1, begun = now_ns();
        sw->sent++;
        push(sw);
        while (completed < due) {
            if (across || sw->waits_for_room) {
                work(1000);
            } else if (now_ns() - begun > 1000000000) {
                work(1000);
            } else {
                receive(sw, 0);
            }
            if (now_ns() - begun > SILENCE * 1000000000ll) die("no set-up for %d s: %s", SILENCE, what_is_missing());
        }
        taken[i] = now_ns() - begun;
        dirty_count = 0;
        is_dirty[i % senders] = false;
        if (i % 64 == 63) work(0);
    }
}

static void teach(void) {
    uint8_t message[512];
    for (int i = 0; i < sessions; i++) {
        if (i % per_switch < clients) continue;
        Switch *sw = &all[i / per_switch];
        size_t size = build_lesson(i, message);
        int64_t due = completed + 1;
        queue(sw, message, size);
        push(sw);
        until_completed(due);
    }
    completed = 0;
}

static void echo_all(void) {
    for (int i = 0; i < switches; i++) all[i].echoed = false;
    for (int i = 0; i < switches; i++) answer(&all[i], ECHO_REQUEST, 7, NULL, 0);
    for (int i = 0; i < switches; i++)
        while (!all[i].echoed)
            if (!work(SILENCE * 1000)) die("switch %d: no answer to an echo request", i);
}

/* The flows are over: their switches say so of every rule that they were to report. Returns how many flows ended. */
static int64_t end_flows(int64_t first, int64_t count) {
    int64_t ended = 0;
    for (int64_t n = first; n < first + count; n++) {
        Switch *sw = &all[n % senders];
        bool told = false;
        for (int way = 0; way < 2; way++) {
            const uint8_t *mod = slot_of(n)[way];
            if (!(kept_alive[n] & 1 << way) || !(r16(mod + 44) & 1)) continue;
            uint8_t message[SLOT] = {4, FLOW_REMOVED};
            size_t match_length = padded_match(mod);
            w16(message + 2, (uint16_t)(48 + match_length));
            memcpy(message + 8, mod + 8, 8);
            memcpy(message + 16, mod + 30, 2);
            message[19] = mod[24];
            w32(message + 20, 1);
            memcpy(message + 28, mod + 26, 4);
            w64(message + 32, 3);
            w64(message + 40, 222);
            memcpy(message + 48, mod + 48, match_length);
            queue(sw, message, 48 + match_length);
            kept_alive[n] &= (uint8_t)~(1 << way);
            told = true;
        }
        ended += told;
        if (n % (64 * senders) < senders || sw->out_end - sw->out_begin > 65536) {
            if (!sw->waits_for_room) push(sw);
            work(0);
        }
    }
    for (int i = 0; i < switches; i++)
        if (!all[i].waits_for_room) push(&all[i]);
    echo_all();
    return ended;
}

/* The controller's processor time when it has come to rest: what it does behind the flows, such as its log, is done. */
static int64_t session_cpu_at_rest(void) {
    int64_t before = session_cpu_ns(), after = before;
    for (int i = 0, quiet = 0; watched && quiet < 5 && i < 200; i++, before = after) {
        for (int64_t begun = now_ns(); now_ns() - begun < 100000000;) work(20);
        after = session_cpu_ns();
        quiet = after - before < 10000000 ? quiet + 1 : 0;
    }
    return after;
}

/* Wait until it is as good as at rest, for so many hundredths of a second in a row: nothing of one batch is left to be
 * done in the next. What it does all the time, such as reading tables back, goes on, so that it is not waited for longer
 * than `most` milliseconds. */
static void let_it_rest(int hundredths, int most) {
    int64_t before = session_cpu_ns(), begun = now_ns();
    for (int quiet = 0; watched && quiet < hundredths && now_ns() - begun < most * 1000000ll;) {
        for (int64_t since = now_ns(); now_ns() - since < 10000000;) work(5);
        int64_t after = session_cpu_ns();
        quiet = after - before < 2000000 ? quiet + 1 : 0;
        before = after;
    }
}

static void print_all(const char *name, const int64_t *values, int count) {
    printf("\"%s\": [", name);
    for (int i = 0; i < count; i++) printf("%s%ld", i ? ", " : "", (long)values[i]);
    printf("], ");
}

/* Say that the next batch is ready, and be switches at rest until somebody asks for it. */
static void wait_for_turn(void) {
    struct pollfd asked = {STDIN_FILENO, POLLIN, 0};
    char byte;
    if (puts(".") < 0 || fflush(stdout)) die("nobody hears that a batch is ready");
    while (!poll(&asked, 1, 0)) work(1);
    if (read(STDIN_FILENO, &byte, 1) != 1) die("nobody asks for the next batch");
}

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double percentile(const int64_t *ordered, int64_t count, double percent) {
    int64_t at = (int64_t)((double)count * percent / 100);
    if ((double)at * 100 < (double)count * percent) at++;
    return (double)ordered[at > 0 ? at - 1 : 0] / 1000;
}

static double median(const int64_t *ordered, int count) {
    return ((double)ordered[(count - 1) / 2] + (double)ordered[count / 2]) / 2;
}

static int64_t rounded(int64_t count) { return (count + senders - 1) / senders * senders; }

static int be_switches(bool reflected) {
    lay_out();
    int64_t warm_flows = rounded(warm), single_flows = rounded(single), many_flows = rounded(many);
    flow_count = warm_flows + single_flows + many_flows * batches;
    state = must(calloc((size_t)flow_count + 1, 1));
    kept_alive = must(calloc((size_t)flow_count + 1, 1));
    slot_room = flow_count;
    if (ends_flows) slot_room = many_flows > single_flows ? many_flows : single_flows;
    slots = must(calloc((size_t)slot_room, sizeof *slots));
    class_of = must(calloc((size_t)sessions + 1, sizeof *class_of));
    class_to = must(calloc((size_t)sessions + 1, sizeof *class_to));
    dirty = must(calloc((size_t)switches + 1, sizeof *dirty));
    is_dirty = must(calloc((size_t)switches + 1, sizeof *is_dirty));
    int64_t begun = now_ns();
    connect_all();
    handshake(reflected);
    double ready = (double)(rest_since - begun) / 1e9;
    whole = complete_state(0);
    if (learn) teach();
    int64_t next = 0, ended = 0;
    for (int64_t some; next < warm_flows; next += some) { /* no more at once than later on */
        some = warm_flows - next < many_flows ? warm_flows - next : many_flows;
        make_load(next, some);
        many_at_once(some);
        if (ends_flows) ended += end_flows(next, some);
    }
    int64_t *taken = must(calloc((size_t)single_flows + 1, sizeof *taken));
    make_load(next, single_flows);
    int64_t controller = session_cpu_ns();
    one_at_a_time(single_flows, taken);
    int64_t controller_single = session_cpu_ns() - controller;
    next += single_flows;
    if (ends_flows) ended += end_flows(next - single_flows, single_flows);
    int64_t octets_there = 0, octets_back = 0, messages_back = 0, octets_end = 0;
    int64_t wall = 0, own = 0, everything = session_cpu_at_rest();
    int64_t *walls = must(calloc((size_t)batches, sizeof *walls)), *cpus = must(calloc((size_t)batches, sizeof *cpus));
    int64_t everything_begun = now_ns();
    read_back = 0;
    for (int i = 0; i < batches; i++) {
        make_load(next, many_flows);
        if (in_turns) { /* what it does while others have their turn is no part of its own */
            let_it_rest(8, 400); /* its log is written 50 ms later */
            int64_t waiting = session_cpu_ns(), since = now_ns(), had = read_back;
            wait_for_turn();
            everything += session_cpu_ns() - waiting;
            everything_begun += now_ns() - since;
            read_back = had;
        }
        let_it_rest(2, 100);
        int64_t controller_before = session_cpu_ns(), own_before = own_cpu_ns();
        octets_sent = octets_heard = messages_heard = 0;
        walls[i] = many_at_once(many_flows);
        octets_there += octets_sent, octets_back += octets_heard, messages_back += messages_heard;
        own += own_cpu_ns() - own_before;
        cpus[i] = session_cpu_ns() - controller_before;
        wall += walls[i];
        octets_sent = 0;
        if (ends_flows) ended += end_flows(next, many_flows);
        octets_end += octets_sent;
        next += many_flows;
    }
    echo_all();
    everything = session_cpu_at_rest() - everything;
    int64_t everything_spent = now_ns() - everything_begun, everything_read = read_back, rest_begun = now_ns();
    read_back = 0;
    int64_t rest_cpu = session_cpu_ns();
    while (now_ns() - rest_begun < rest * 1000000000ll) work(20);
    double rested = (double)(now_ns() - rest_begun);
    rest_cpu = session_cpu_ns() - rest_cpu;
    if (rejected_late) die("%ld answers came twice", (long)rejected_late);
    if (completed != flow_count) die("%ld flows of %ld are set up", (long)completed, (long)flow_count);
    size_t standing = 0, bindings = 0;
    for (int i = 0; i < switches; i++)
        for (size_t j = 0; j < all[i].entry_count; j++) {
            const uint8_t *raw = all[i].entries[j].raw;
            standing += raw != NULL;
            bindings += raw && (raw[24] == table_source || raw[24] == table_destination);
        }
    printf("{");
    if (in_turns) { /* each, so that what was measured side by side can be held against each other */
        print_all("walls", walls, batches);
        print_all("cpus", cpus, batches);
    }
    qsort(taken, (size_t)single_flows, sizeof *taken, by_size);
    qsort(walls, (size_t)batches, sizeof *walls, by_size);
    qsort(cpus, (size_t)batches, sizeof *cpus, by_size);
    double total = (double)(many_flows * batches), each = (double)many_flows, middle = median(walls, batches);
    printf("\"rate\": %.1f, \"rate_all\": %.1f, \"slowest\": %.1f, \"spread\": %.1f, \"cpu\": %.3f, \"cpu_least\": %.3f, "
           "\"cpu_most\": %.3f, \"batches\": %d, \"p50\": %.2f, \"p99\": %.2f, \"p999\": %.2f, \"cpu_whole\": %.3f, "
           "\"cpu_single\": %.3f, \"load_cpu\": %.3f, \"load_busy\": %.1f, \"flows\": %ld, \"ended\": %ld, "
           "\"octets_there\": %.1f, \"octets_back\": %.1f, \"messages_back\": %.3f, \"octets_end\": %.1f, "
           "\"ready\": %.3f, \"entries\": %zu, \"bindings\": %zu, \"seconds\": %.4f, "
           "\"whole_read\": %.3f, \"whole_wall\": %.3f, \"sent_again\": %ld",
           each / middle * 1e9, total / ((double)wall / 1e9), each / ((double)walls[batches - 1] / 1e9),
           100 * (double)(walls[3 * batches / 4] - walls[batches / 4]) / middle, median(cpus, batches) / each / 1000,
           (double)cpus[0] / each / 1000, (double)cpus[batches - 1] / each / 1000, batches,
           percentile(taken, single_flows, 50), percentile(taken, single_flows, 99), percentile(taken, single_flows, 99.9),
           (double)everything / total / 1000, (double)controller_single / (double)single_flows / 1000,
           (double)own / total / 1000, 100 * (double)own / (double)wall, (long)flow_count, (long)ended,
           (double)octets_there / total, (double)octets_back / total, (double)messages_back / total,
           (double)octets_end / total, ready, standing, bindings, (double)wall / 1e9,
           (double)everything_read / total, (double)everything_spent / total / 1000,
           (long)sent_again);
    if (rest > 0)
        printf(", \"rest_busy\": %.4f, \"rest_read\": %.1f", 100 * (double)rest_cpu / rested,
               (double)read_back / (rested / 1e9));
    printf("}\n");
    return 0;
}

/* ---- the reflector ---- */

typedef struct { uint8_t bytes[512]; size_t length, src, dst, sport, dport, metadata; } Template;

static size_t from_hex(const char *text, uint8_t *into, size_t room) {
    size_t length = strlen(text) / 2;
    if (length > room) die("a template is too long");
    for (size_t i = 0; i < length; i++) {
        unsigned value;
        if (sscanf(text + 2 * i, "%2x", &value) != 1) die("a template is no hexadecimal");
        into[i] = (uint8_t)value;
    }
    return length;
}

static Template template_of(const char *hex) {
    Template t = {.length = 0};
    t.length = from_hex(hex, t.bytes, sizeof t.bytes);
    const uint8_t *at = t.bytes + 52, *end = t.bytes + 48 + r16(t.bytes + 50), *value;
    uint32_t header;
    while (at < end) {
        next_oxm(&at, end, &header, &value);
        size_t place = (size_t)(value - t.bytes);
        if (header == 0x80001604) t.src = place;
        if (header == 0x80001804) t.dst = place;
        if (header == 0x80001A02) t.sport = place;
        if (header == 0x80001C02) t.dport = place;
        if (header == 0x80000510) t.metadata = place;
    }
    if (!t.src || !t.dst || !t.sport || !t.dport || !t.metadata) die("a template without a 5-tuple or metadata");
    return t;
}

static int be_reflector(const char *forward, const char *back, const char *out_head) {
    Template there = template_of(forward), backwards = template_of(back);
    uint8_t head[256];
    size_t head_length = from_hex(out_head, head, sizeof head);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    if (listener < 0 || bind(listener, (struct sockaddr *)&at, size) || listen(listener, 1024)) die("cannot listen");
    getsockname(listener, (struct sockaddr *)&at, &size);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    poller = epoll_create1(EPOLL_CLOEXEC);
    Switch server = {.fd = listener};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &server}, events[64];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (int live = 0, any = 0; live || !any;) {
        int count = epoll_wait(poller, events, 64, SILENCE * 1000);
        if (count == 0) die("nobody connected or spoke for %d s", SILENCE);
        for (int i = 0; i < count; i++) {
            Switch *sw = events[i].data.ptr;
            if (sw == &server) {
                Switch *made = must(calloc(1, sizeof *made));
                int yes = 1;
                made->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                if (made->fd < 0) die("accept: %s", strerror(errno));
                setsockopt(made->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                made->in = must(malloc(IN_CAP));
                made->out = must(malloc(OUT_CAP));
                struct epoll_event more = {.events = EPOLLIN, .data.ptr = made};
                epoll_ctl(poller, EPOLL_CTL_ADD, made->fd, &more);
                live++, any = 1;
                continue;
            }
            ssize_t got = recv(sw->fd, sw->in + sw->in_length, IN_CAP - sw->in_length, MSG_DONTWAIT);
            if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
            if (got <= 0) { close(sw->fd); live--; continue; }
            sw->in_length += (size_t)got;
            size_t done = 0, end = 0;
            while (sw->in_length - done >= 8 && sw->in_length - done >= r16(sw->in + done + 2)) {
                const uint8_t *m = sw->in + done;
                size_t length = r16(m + 2);
                done += length;
                if (m[1] == ECHO_REQUEST) {
                    memcpy(sw->out + end, m, length);
                    sw->out[end + 1] = ECHO_REPLY;
                    end += length;
                }
                if (m[1] != PACKET_IN) continue;
                const uint8_t *frame = m + length - FRAME;
                uint64_t metadata = 0;
                uint32_t out = 0;
                const uint8_t *oxm = m + 28, *stop = m + 24 + r16(m + 26), *value;
                uint32_t header;
                while (oxm < stop) {
                    next_oxm(&oxm, stop, &header, &value);
                    if (header == OXM_METADATA) metadata = r64(value);
                    if (header == OXM_REG0 + 0x600) out = r32(value);
                }
                for (int way = 1; way >= 0; way--) { /* the way back first, as Zethane does */
                    const Template *t = way ? &backwards : &there;
                    uint8_t *p = sw->out + end;
                    memcpy(p, t->bytes, t->length);
                    memcpy(p + t->src, frame + (way ? 30 : 26), 4);
                    memcpy(p + t->dst, frame + (way ? 26 : 30), 4);
                    memcpy(p + t->sport, frame + (way ? 36 : 34), 2);
                    memcpy(p + t->dport, frame + (way ? 34 : 36), 2);
                    uint64_t subject = metadata >> 40, object = metadata >> 16 & 0xFFFFFF;
                    w64(p + t->metadata, way ? object << 40 | subject << 16 : metadata);
                    w64(p + 8, metadata | 1);
                    end += t->length;
                }
                uint8_t *p = sw->out + end;
                memcpy(p, head, head_length);
                w16(p + 2, (uint16_t)(head_length + FRAME));
                w32(p + 28, out);
                memcpy(p + head_length, frame, FRAME);
                end += head_length + FRAME;
                if (end > OUT_CAP - 4096) die("too much at once");
            }
            memmove(sw->in, sw->in + done, sw->in_length -= done);
            for (size_t sent = 0; sent < end;) {
                ssize_t some = send(sw->fd, sw->out + sent, end - sent, MSG_NOSIGNAL);
                if (some < 0 && errno != EINTR) die("send: %s", strerror(errno));
                if (some > 0) sent += (size_t)some;
            }
        }
    }
    return 0;
}

/* ---- the command line ---- */

int main(int argc, char **argv) {
    const char *forward = NULL, *back = NULL, *out_head = NULL;
    int limit = 0;
    struct { const char *name; int *into; } numbers[] = {
        {"port", &port}, {"switches", &switches}, {"sessions", &sessions}, {"mods", &mods}, {"window", &window},
        {"across", &across}, {"gate", &gate}, {"learn", &learn}, {"pipeline", &pipeline}, {"check-port", &check_port},
        {"end", &ends_flows}, {"batches", &batches}, {"warm", &warm}, {"single", &single}, {"many", &many},
        {"table-source", &table_source}, {"table-destination", &table_destination}, {"table-flow", &table_flow},
        {"table-rule", &table_rule}, {"reason-lldp", &reason_lldp}, {"links", &with_links}, {"deliver", &deliver},
        {"ports", &ports}, {"limit", &limit}, {"rest", &rest}, {"in-turns", &in_turns},
    };
    enum { COUNT = sizeof numbers / sizeof *numbers };
    struct option options[COUNT + 7];
    memset(options, 0, sizeof options);
    for (int i = 0; i < COUNT; i++) options[i] = (struct option){numbers[i].name, required_argument, NULL, 1000 + i};
    options[COUNT] = (struct option){"settle", required_argument, NULL, 's'};
    options[COUNT + 1] = (struct option){"dpid", required_argument, NULL, 'd'};
    options[COUNT + 2] = (struct option){"controller", required_argument, NULL, 'c'};
    options[COUNT + 3] = (struct option){"forward", required_argument, NULL, 'f'};
    options[COUNT + 4] = (struct option){"back", required_argument, NULL, 'b'};
    options[COUNT + 5] = (struct option){"out", required_argument, NULL, 'o'};
    for (int found; (found = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (found >= 1000) *numbers[found - 1000].into = (int)strtol(optarg, NULL, 0);
        else if (found == 's') settle = strtod(optarg, NULL);
        else if (found == 'd') first_dpid = strtoull(optarg, NULL, 0);
        else if (found == 'c') watched = strtol(optarg, NULL, 0);
        else if (found == 'f') forward = optarg;
        else if (found == 'b') back = optarg;
        else if (found == 'o') out_head = optarg;
        else return 2;
    }
    const char *what = optind < argc ? argv[optind] : "";
    if (!strcmp(what, "reflect") && forward && back && out_head) return be_reflector(forward, back, out_head);
    if (strcmp(what, "switches") || port <= 0 || switches < 1 || sessions < 2 || window < 1 || batches < 1 || many < 1 ||
        single < 1 || warm < 1 || mods < 1 || mods > 2) {
        fprintf(stderr, "usage: load switches --port PORT [--switches N] [--sessions M] …, or load reflect …\n");
        return 2;
    }
    return be_switches(limit);
}
