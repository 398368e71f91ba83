/* Load for the data path: TCP streams, round trips and connections between network namespaces.
 *
 *   path stream    CLIENT SERVER ADDRESS PORT FLOWS SECONDS
 *   path pingpong  CLIENT SERVER ADDRESS PORT COUNT tcp|udp
 *   path connect   tcp|udp SECONDS WINDOW FIRST PORT PORTS SERVER CLIENT...
 *   path hold      WINDOW PROBES FIRST PORT PORTS SERVER CLIENT... < numbers
 *
 * CLIENT and SERVER of the first two are processes whose namespaces are entered. Their sockets stay in the namespace
 * that they were made in. One thread at each end at the most, and every wait has a limit.
 *
 * The last two make connections without an IP stack, frame by frame, so that they cost next to nothing beside a switch:
 * there a host is PID,INTERFACE,MAC,ADDRESS, and its interface must not have the address. `connect` opens them, sends a
 * byte each way and closes them (UDP: a byte each way), WINDOW of them at a time, for so many seconds. `hold` opens
 * as many as the number on each line of standard input says, does not close them, and measures new ones and round trips
 * over those that are there, one at a time. Connection n goes from client n mod C, from port FIRST_PORT + n div C mod
 * PORTS to PORT + n div C div PORTS mod PORTS; FIRST is the first.
 *
 * Results are lines of JSON; errors go to standard error with exit status 1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_FLOWS = 256,
    MAX_HOSTS = 64,
    MAX_PORTS = 1024,
    MAX_WINDOW = 4096,
    RING = 1 << 16,     /* connections of which it is known how far they are: more than can be under way */
    FIRST_PORT = 1024,
    PORTS = 64000,      /* source ports of a client, from FIRST_PORT on */
    BATCH = 64,
    PATIENCE_MS = 5000, /* of silence, after which the load has failed */
    LOST_MS = 1000,     /* after which a connection that is not made is lost */
    WARM_UP_MS = 200,   /* of a stream, before its bytes count */
    WARM_TRIPS_MS = 250, /* of round trips: until the switch has both directions in its caches, and has come to rest */
    SMALL = 32,         /* bytes of a round trip */
};

static char block[1 << 18];

static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    if (errno)
        fprintf(stderr, ": %s", strerror(errno));
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static long number(const char *text, long low, long high)
{
    char *end;
    long value = strtol(text, &end, 10);
    errno = 0;
    if (end == text || *end || value < low || value > high)
        die("expected a number from %ld to %ld, not %s", low, high, text);
    return value;
}

static int open_namespace(long pid)
{
    char name[64];
    snprintf(name, sizeof name, "/proc/%ld/ns/net", pid);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        die("cannot open %s", name);
    return fd;
}

static void enter(int fd)
{
    if (setns(fd, CLONE_NEWNET))
        die("cannot enter a network namespace");
}

static struct sockaddr_in address(const char *ip, int port)
{
    struct sockaddr_in found = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, ip, &found.sin_addr) != 1)
        die("expected an IPv4 address, not %s", ip);
    return found;
}

static int new_socket(int kind, int flags)
{
    int one = 1, fd = socket(AF_INET, kind | SOCK_CLOEXEC | flags, 0);
    if (fd < 0)
        die("no socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (kind == SOCK_STREAM)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void bind_to(int fd, struct sockaddr_in at)
{
    if (bind(fd, (struct sockaddr *)&at, sizeof at))
        die("cannot bind to port %d", ntohs(at.sin_port));
}

static int listening(struct sockaddr_in at, int flags)
{
    int fd = new_socket(SOCK_STREAM, flags);
    bind_to(fd, at);
    if (listen(fd, MAX_FLOWS))
        die("cannot listen");
    return fd;
}

static void limit(int fd)
{
    struct timeval patience = {PATIENCE_MS / 1000, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

static void watch(int epoll, int fd, uint32_t events, uint64_t tag)
{
    struct epoll_event wanted = {.events = events, .data.u64 = tag};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &wanted))
        die("cannot watch a socket");
}

/* The other end as a process of its own, which does not outlive this one. */
static pid_t other_end(void)
{
    pid_t parent = getpid(), child = fork();
    if (child < 0)
        die("no second process");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            exit(1);
    }
    return child;
}

/* --- streams ------------------------------------------------------------------------------------------------- */

static void send_streams(const int *fds, int flows, uint64_t until)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < flows; i++) {
        fcntl(fds[i], F_SETFL, O_NONBLOCK);
        watch(epoll, fds[i], EPOLLOUT, (uint64_t)fds[i]);
    }
    while (now_ns() < until) {
        struct epoll_event ready[MAX_FLOWS];
        int found = epoll_wait(epoll, ready, MAX_FLOWS, 100);
        for (int i = 0; i < found; i++)
            if (send(ready[i].data.fd, block, sizeof block, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
                exit(errno == EPIPE || errno == ECONNRESET ? 0 : 1);
    }
}

static void stream(char **given)
{
    int client = open_namespace(number(given[0], 1, INT32_MAX)), server = open_namespace(number(given[1], 1, INT32_MAX));
    struct sockaddr_in at = address(given[2], (int)number(given[3], 1, 65535));
    int flows = (int)number(given[4], 1, MAX_FLOWS);
    double seconds = atof(given[5]);
    enter(server);
    int listener = listening(at, 0);
    limit(listener);
    uint64_t whole = (uint64_t)(seconds * 1e9) + WARM_UP_MS * 1000000ull;
    if (other_end() == 0) {
        int fds[MAX_FLOWS];
        enter(client);
        for (int i = 0; i < flows; i++) {
            fds[i] = new_socket(SOCK_STREAM, 0);
            limit(fds[i]);
            if (connect(fds[i], (struct sockaddr *)&at, sizeof at))
                die("cannot connect");
        }
        send_streams(fds, flows, now_ns() + 2 * whole);
        exit(0);
    }
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < flows; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            die("connection %d of %d did not come", i + 1, flows);
        watch(epoll, fd, EPOLLIN, (uint64_t)fd);
    }
    uint64_t started = now_ns(), first = 0, got = 0;
    for (uint64_t now = started; now - started < whole; now = now_ns()) {
        if (!first && now - started >= WARM_UP_MS * 1000000ull) {
            first = now;
            got = 0;
        }
        struct epoll_event ready[MAX_FLOWS];
        errno = 0;
        int found = epoll_wait(epoll, ready, MAX_FLOWS, PATIENCE_MS);
        if (found <= 0)
            die("the streams stand still");
        for (int i = 0; i < found; i++) {
            /* MSG_TRUNC: TCP throws the bytes away without a copy. */
            ssize_t size = recv(ready[i].data.fd, block, sizeof block, MSG_TRUNC);
            if (size == 0 || (size < 0 && errno != EAGAIN))
                die("a stream has ended");
            if (size > 0)
                got += (uint64_t)size;
        }
    }
    printf("{\"bits_per_second\": %.0f}\n", 8e9 * (double)got / (double)(now_ns() - first));
}

/* --- round trips --------------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    double one = *(const double *)a, other = *(const double *)b;
    return (one > other) - (one < other);
}

static double percentile(const double *sorted, int count, int percent)
{
    int rank = (count * percent + 99) / 100;
    return sorted[rank > 0 ? rank - 1 : 0];
}

static int one_way(int from, int to, char *body, int is_udp)
{
    if (send(from, body, SMALL, MSG_NOSIGNAL) != SMALL)
        return -1;
    for (ssize_t got = 0; got < SMALL;) {
        ssize_t size = recv(to, block, sizeof block, 0);
        if (size <= 0)
            return -1;
        /* A late datagram of before is none. */
        got = is_udp ? (size == SMALL && !memcmp(block, body, SMALL) ? SMALL : 0) : got + size;
    }
    return 0;
}

static void pingpong(char **given)
{
    int client = open_namespace(number(given[0], 1, INT32_MAX)), server = open_namespace(number(given[1], 1, INT32_MAX));
    struct sockaddr_in at = address(given[2], (int)number(given[3], 1, 65535));
    int count = (int)number(given[4], 1, 10000000), is_udp = !strcmp(given[5], "udp");
    int kind = is_udp ? SOCK_DGRAM : SOCK_STREAM, here, there;
    enter(server);
    int listener = is_udp ? new_socket(kind, 0) : listening(at, 0);
    if (is_udp)
        bind_to(listener, at);
    limit(listener);
    enter(client);
    here = new_socket(kind, 0);
    limit(here);
    if (connect(here, (struct sockaddr *)&at, sizeof at))
        die("cannot connect");
    if (is_udp) {
        struct sockaddr_in peer;
        socklen_t size = sizeof peer;
        if (send(here, "first", 5, 0) != 5 || recvfrom(listener, block, SMALL, 0, (struct sockaddr *)&peer, &size) < 0)
            die("no packet came through");
        there = listener;
        if (connect(there, (struct sockaddr *)&peer, size))
            die("cannot answer");
    } else {
        there = accept(listener, NULL, NULL);
        if (there < 0)
            die("the connection did not come");
        int one = 1;
        setsockopt(there, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        limit(there);
    }
    double *times = calloc((size_t)count, sizeof *times);
    if (!times)
        die("no memory for %d times", count);
    uint64_t warm = now_ns() + WARM_TRIPS_MS * 1000000ull;
    for (int i = 0, number = 0; i < count; number++) {
        char body[SMALL] = {0};
        memcpy(body, &number, sizeof number);
        uint64_t started = now_ns();
        if (one_way(here, there, body, is_udp) || one_way(there, here, body, is_udp))
            die("round trip %d of %d was lost", i, count);
        if (started >= warm)
            times[i++] = (double)(now_ns() - started) / 1000;
    }
    printf("{\"times\": [");
    for (int i = 0; i < count; i++)
        printf("%s%.2f", i ? "," : "", times[i]);
    printf("]}\n");
    free(times);
}

/* --- connections without an IP stack ---------------------------------------------------------------------------- */

struct host {
    uint8_t mac[6];
    uint32_t ip;
    int fd;
};

struct segment {
    uint8_t to[6], from[6];
    uint16_t type;
    uint8_t version, service;
    uint16_t length, id, fragment;
    uint8_t ttl, proto;
    uint16_t ip_sum;
    uint32_t source, target;
    uint16_t sport, dport;
    union {
        struct {
            uint32_t seq, ack;
            uint8_t offset, flags;
            uint16_t window, sum, urgent;
            uint8_t data[1];
        } __attribute__((packed)) tcp;
        struct {
            uint16_t length, sum;
            uint8_t data[1];
        } __attribute__((packed)) udp;
    };
} __attribute__((packed));

enum { FIN = 1, SYN = 2, PSH = 8, ACK = 16, ISN_CLIENT = 1000, ISN_SERVER = 5000, TCP_HEADER = 20, UDP_HEADER = 8 };

/* How far a connection is: nothing has come back, it is open, its byte is back; and what nobody waits for any more. */
enum state { OVER = 0, OPENING, OPEN };

static struct host server, clients[MAX_HOSTS];
static int count, first_port, port_count, is_udp_load;
static struct { long n; uint64_t started; enum state state; } ring[RING];
static long next_one, oldest, under_way, lost;

static struct { struct segment frames[BATCH]; struct iovec parts[BATCH]; struct mmsghdr messages[BATCH]; int used; }
    out[MAX_HOSTS + 1], in;

static uint32_t sum_up(const void *from, size_t size, uint32_t sum)
{
    const uint8_t *bytes = from;
    for (size_t i = 0; i + 1 < size; i += 2)
        sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
    return size & 1 ? sum + ((uint32_t)bytes[size - 1] << 8) : sum;
}

static uint16_t folded(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons((uint16_t)~sum);
}

static void flush(int which, int fd)
{
    for (int sent = 0; sent < out[which].used;) {
        int got = sendmmsg(fd, out[which].messages + sent, (unsigned)(out[which].used - sent), 0);
        if (got <= 0 && errno != ENOBUFS && errno != EAGAIN)
            die("cannot send frames");
        sent += got > 0 ? got : 0;
    }
    out[which].used = 0;
}

/* A frame from one host to another; `which` is the client's number, or `count` for the server. */
static void say(int which, int client, uint16_t sport, uint16_t dport, int flags, uint32_t seq, uint32_t ack, int size)
{
    const struct host *from = which == count ? &server : &clients[client];
    const struct host *to = which == count ? &clients[client] : &server;
    struct segment *made = &out[which].frames[out[which].used];
    size_t transport = is_udp_load ? UDP_HEADER : TCP_HEADER;
    memset(made, 0, sizeof *made);
    memcpy(made->to, to->mac, 6);
    memcpy(made->from, from->mac, 6);
    made->type = htons(ETH_P_IP);
    made->version = 0x45;
    made->length = htons((uint16_t)(20 + transport + (size_t)size));
    made->fragment = htons(0x4000);
    made->ttl = 64;
    made->proto = is_udp_load ? IPPROTO_UDP : IPPROTO_TCP;
    made->source = from->ip;
    made->target = to->ip;
    made->ip_sum = folded(sum_up(&made->version, 20, 0));
    made->sport = htons(sport);
    made->dport = htons(dport);
    uint32_t sum = sum_up(&made->source, 8, made->proto + (uint32_t)transport + (uint32_t)size);
    if (is_udp_load) {
        made->udp.length = htons((uint16_t)(transport + (size_t)size));
        made->udp.sum = folded(sum_up(&made->sport, transport + (size_t)size, sum));
    } else {
        made->tcp.seq = htonl(seq);
        made->tcp.ack = htonl(ack);
        made->tcp.offset = TCP_HEADER / 4 << 4;
        made->tcp.flags = (uint8_t)flags;
        made->tcp.window = htons(60000);
        made->tcp.sum = folded(sum_up(&made->sport, transport + (size_t)size, sum));
    }
    out[which].parts[out[which].used] = (struct iovec){made, 34 + transport + (size_t)size};
    out[which].messages[out[which].used].msg_hdr = (struct msghdr){.msg_iov = &out[which].parts[out[which].used],
                                                                   .msg_iovlen = 1};
    if (++out[which].used == BATCH)
        flush(which, from->fd);
}

static void begin(void)
{
    long n = next_one++, nth = n / count;
    int client = (int)(n % count);
    ring[n % RING].n = n;
    ring[n % RING].started = now_ns();
    ring[n % RING].state = OPENING;
    under_way++;
    say(client, client, (uint16_t)(FIRST_PORT + nth % PORTS), (uint16_t)(first_port + nth / PORTS % port_count), SYN,
        ISN_CLIENT, 0, is_udp_load);
}

/* The number of the connection that a frame to a client belongs to, as long as it is in the ring; -1 otherwise. */
static long number_of(int client, const struct segment *got)
{
    long here = ntohs(got->dport) - FIRST_PORT, there = ntohs(got->sport) - first_port;
    long round = (long)PORTS * port_count * count, n = ((there * PORTS + here) * count) + client;
    if (here < 0 || here >= PORTS || there < 0 || there >= port_count)
        return -1;
    n += next_one > n ? (next_one - 1 - n) / round * round : 0;
    return ring[n % RING].n == n ? n : -1;
}

static void answer(const struct segment *got)
{
    int client = 0;
    while (client < count && clients[client].ip != got->source)
        client++;
    if (client == count || got->target != server.ip)
        return;
    uint16_t here = ntohs(got->dport), there = ntohs(got->sport);
    if (is_udp_load) {
        say(count, client, here, there, 0, 0, 0, 1);
        return;
    }
    int flags = got->tcp.flags;
    uint32_t ack = ntohl(got->tcp.seq) + !!(flags & (SYN | FIN | PSH));
    if (flags & SYN)
        say(count, client, here, there, SYN | ACK, ISN_SERVER, ack, 0);
    else if (flags & PSH)
        say(count, client, here, there, PSH | ACK, ntohl(got->tcp.ack), ack, 1);
    else if (flags & FIN)
        say(count, client, here, there, FIN | ACK, ntohl(got->tcp.ack), ack, 0);
}

/* What a client does with a frame. 1 if a connection has come as far as it is measured: open for `hold`, its byte back. */
static int proceed(int client, const struct segment *got, int is_held, uint64_t *took)
{
    long n = got->source == server.ip ? number_of(client, got) : -1;
    if (n < 0)
        return 0;
    uint16_t here = ntohs(got->dport), there = ntohs(got->sport);
    enum state *state = &ring[n % RING].state;
    int flags = is_udp_load ? PSH : got->tcp.flags, is_measured = 0;
    uint32_t seq = is_udp_load ? 0 : ntohl(got->tcp.ack), ack = is_udp_load ? 0 : ntohl(got->tcp.seq) + 1;
    if (flags & SYN && *state == OPENING) {
        *state = OPEN;
        say(client, client, here, there, ACK, seq, ack, 0);
        if (is_held)
            is_measured = 1;
        else
            say(client, client, here, there, PSH | ACK, seq, ack, 1);
    } else if (flags & PSH && *state == (is_udp_load ? OPENING : OPEN)) {
        is_measured = 1;
        if (!is_udp_load && !is_held)
            say(client, client, here, there, FIN | ACK, seq, ack, 0);
    } else if (flags & FIN) {
        say(client, client, here, there, ACK, seq, ack, 0);
    }
    if (is_measured) {
        *state = OVER;
        under_way--;
        *took = now_ns() - ring[n % RING].started;
    }
    return is_measured;
}

static void forget_lost(uint64_t now)
{
    for (; oldest < next_one; oldest++) {
        if (ring[oldest % RING].n != oldest || ring[oldest % RING].state == OVER)
            continue;
        if (ring[oldest % RING].started + LOST_MS * 1000000ull > now)
            return;
        ring[oldest % RING].state = OVER;
        under_way--;
        lost++;
    }
}

/* Take what has come for one host, at most a batch, and go on with it; how many connections have come so far. */
static int take(int which, int is_held, double *times)
{
    int fd = which == count ? server.fd : clients[which].fd, done = 0;
    int got = recvmmsg(fd, in.messages, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < got; i++) {
        const struct segment *frame = &in.frames[i];
        uint64_t took;
        size_t least = 34 + (is_udp_load ? UDP_HEADER : TCP_HEADER);
        if (in.messages[i].msg_len < least || frame->type != htons(ETH_P_IP) || frame->version != 0x45 ||
            frame->proto != (is_udp_load ? IPPROTO_UDP : IPPROTO_TCP))
            continue;
        if (which == count)
            answer(frame);
        else if (proceed(which, frame, is_held, &took))
            times[done++] = (double)took / 1000;
    }
    return done;
}

static void flush_all(void)
{
    for (int i = 0; i < count; i++)
        flush(i, clients[i].fd);
    flush(count, server.fd);
}

static void read_host(char *text, struct host *host)
{
    char *parts[4] = {strtok(text, ","), strtok(NULL, ","), strtok(NULL, ","), strtok(NULL, ",")};
    if (!parts[3])
        die("expected PID,INTERFACE,MAC,ADDRESS");
    enter(open_namespace(number(parts[0], 1, INT32_MAX)));
    unsigned m[6];
    if (sscanf(parts[2], "%x:%x:%x:%x:%x:%x", m, m + 1, m + 2, m + 3, m + 4, m + 5) != 6)
        die("expected a MAC, not %s", parts[2]);
    for (int i = 0; i < 6; i++)
        host->mac[i] = (uint8_t)m[i];
    host->ip = address(parts[3], 0).sin_addr.s_addr;
    host->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
    at.sll_ifindex = (int)if_nametoindex(parts[1]);
    int one = 1, room = 1 << 23;
    if (host->fd < 0 || !at.sll_ifindex)
        die("no interface %s", parts[1]);
    if (setsockopt(host->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one))
        die("cannot leave out what is sent");
    setsockopt(host->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    if (bind(host->fd, (struct sockaddr *)&at, sizeof at))
        die("cannot bind to %s", parts[1]);
    errno = 0;
}

/* FIRST PORT PORTS SERVER CLIENT...; a descriptor to wait with. */
static int read_hosts(int argc, char **given)
{
    next_one = oldest = number(given[0], 0, INT64_MAX / 4);
    first_port = (int)number(given[1], 1, 65535);
    port_count = (int)number(given[2], 1, MAX_PORTS);
    count = argc - 4;
    if (count < 1 || count > MAX_HOSTS)
        die("expected 1 to %d clients", MAX_HOSTS);
    for (int i = 0; i < BATCH; i++) {
        in.parts[i] = (struct iovec){&in.frames[i], sizeof in.frames[i]};
        in.messages[i].msg_hdr = (struct msghdr){.msg_iov = &in.parts[i], .msg_iovlen = 1};
    }
    for (int i = 0; i < RING; i++)
        ring[i].n = -1;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    read_host(given[3], &server);
    for (int i = 0; i < count; i++) {
        read_host(given[4 + i], &clients[i]);
        watch(epoll, clients[i].fd, EPOLLIN, (uint64_t)i);
    }
    watch(epoll, server.fd, EPOLLIN, (uint64_t)count);
    return epoll;
}

/* Wait for frames and go on with their connections; how many have come as far as they are measured. */
static int go_on(int epoll, int is_held, double *times, int wait_ms)
{
    struct epoll_event ready[MAX_HOSTS + 1];
    int done = 0, found = epoll_wait(epoll, ready, MAX_HOSTS + 1, wait_ms);
    for (int i = 0; i < found; i++)
        done += take((int)ready[i].data.u64, is_held, times + done);
    return done;
}

static void connections(int argc, char **given)
{
    is_udp_load = !strcmp(given[0], "udp");
    uint64_t whole = (uint64_t)(atof(given[1]) * 1e9);
    int window = (int)number(given[2], 1, MAX_WINDOW), epoll = read_hosts(argc - 3, given + 3);
    long done = 0, room = 1 << 22;
    double *times = malloc((size_t)(room + BATCH * (MAX_HOSTS + 1)) * sizeof *times);
    if (!times)
        die("no memory");
    uint64_t started = now_ns(), now = started;
    for (; now - started < whole && done < room; now = now_ns()) {
        while (under_way < window)
            begin();
        flush_all();
        done += go_on(epoll, 0, times + done, 50);
        forget_lost(now);
    }
    if (!done)
        die("no connection was made");
    qsort(times, (size_t)done, sizeof *times, ascending);
    printf("{\"rate\": %.1f, \"p50\": %.2f, \"p99\": %.2f, \"made\": %ld, \"lost\": %ld, \"next\": %ld}\n",
           (double)done * 1e9 / (double)(now - started), percentile(times, (int)done, 50),
           percentile(times, (int)done, 99), done, lost, next_one);
    free(times);
}

/* One new connection, or one round trip over a connection that is there, in microseconds. */
static double probe(int epoll, long n)
{
    double took[BATCH * 2];
    uint64_t started = now_ns();
    if (n < 0) {
        begin();
    } else {
        long nth = n / count;
        ring[n % RING].n = n;
        ring[n % RING].started = started;
        ring[n % RING].state = OPEN;
        under_way++;
        say((int)(n % count), (int)(n % count), (uint16_t)(FIRST_PORT + nth % PORTS),
            (uint16_t)(first_port + nth / PORTS % port_count), PSH | ACK, ISN_CLIENT + 1, ISN_SERVER + 1, 1);
    }
    for (flush_all(); now_ns() - started < LOST_MS * 1000000ull; flush_all())
        if (go_on(epoll, 1, took, 50) > 0) {
            flush_all();
            return took[0];
        }
    ring[(n < 0 ? next_one - 1 : n) % RING].state = OVER;
    under_way--;
    lost++;
    return LOST_MS * 1000.0;
}

static void tell(const char *name, double *times, int probes)
{
    qsort(times, (size_t)probes, sizeof *times, ascending);
    printf(", \"%s_p50\": %.2f, \"%s_p99\": %.2f", name, percentile(times, probes, 50), name,
           percentile(times, probes, 99));
}

static void hold(int argc, char **given)
{
    int window = (int)number(given[0], 1, MAX_WINDOW), probes = (int)number(given[1], 1, 100000);
    long first = number(given[2], 0, INT64_MAX / 4), done = 0;
    int epoll = read_hosts(argc - 2, given + 2);
    double *times = calloc((size_t)probes, sizeof *times), some[BATCH * (MAX_HOSTS + 1)];
    char line[16];
    if (!times)
        die("no memory");
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        long more = number(line, 0, 100000000);
        uint64_t started = now_ns(), now = started, heard = started;
        for (long until = done + more; done < until; now = now_ns()) {
            while (under_way < window && next_one - first - lost < until)
                begin();
            flush_all();
            int got = go_on(epoll, 1, some, 50);
            done += got;
            heard = got ? now : heard;
            if (now - heard > PATIENCE_MS * 1000000ull)
                die("%ld connections of %ld, and no more", done, until);
            forget_lost(now);
        }
        flush_all();
        printf("{\"rate\": %.1f", (double)more * 1e9 / (double)(now - started + 1));
        for (int i = 0; i < probes; i++)
            times[i] = probe(epoll, -1);
        done += probes;
        tell("new", times, probes);
        for (int i = 0; i < probes; i++)
            times[i] = probe(epoll, first + (random() % (next_one - first)));
        tell("trip", times, probes);
        printf(", \"held\": %ld, \"lost\": %ld, \"next\": %ld}\n", done, lost, next_one);
        fflush(stdout);
    }
    free(times);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc == 8 && !strcmp(argv[1], "stream"))
        stream(argv + 2);
    else if (argc == 8 && !strcmp(argv[1], "pingpong"))
        pingpong(argv + 2);
    else if (argc >= 10 && !strcmp(argv[1], "connect"))
        connections(argc - 2, argv + 2);
    else if (argc >= 9 && !strcmp(argv[1], "hold"))
        hold(argc - 2, argv + 2);
    else
        die("expected stream, pingpong, connect or hold with its arguments");
    return 0;
}
