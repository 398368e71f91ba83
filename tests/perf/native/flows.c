/* Hosts that cost little: they open flows through a switch, and say which packets came out.
 *
 *   flows first   --count N --interval US      new flows, one at a time: how long each first packet takes
 *   flows load    --rate N --seconds S         new flows at a steady rate: how many arrive, and how late
 *   flows stream  --every US --seconds S       packets of flows that are there: when the last one of them arrives
 *   flows steady  --every US --seconds S       opens flows, then sends packets of them: which of these never arrive
 *
 * and for all of them: --from PID --to PID, the processes that hold the network namespaces of the hosts, and a
 * --sender and --receiver INTERFACE,MAC,ADDRESS for each host. --first N is the number of the first flow,
 * --only K lets all flows go to receiver number K, --tcp makes them TCP connections: a SYN (in `stream` an ACK) instead
 * of a UDP datagram. --flows N: `stream` and `steady` go round N flows. --deadline S: a packet that takes longer is late.
 * --answer: receivers answer. In `steady` the first datagram of a flow, so that a switch takes it for a connection; in
 * `load` every one, and a flow has arrived when its answer has.
 *
 * Flow n goes from sender n mod S to receiver (n div S) mod R, and has the source port FIRST_PORT + n div (S R).
 * A packet carries its flow's number and when it was sent. When one has arrived is what the kernel says
 * (SO_TIMESTAMPNS), so that it does not matter when this program gets to run.
 *
 * JSON on standard output; a reason on standard error and status 1 if something does not work.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_HOSTS 128
#define FIRST_PORT 1024
#define PORTS 64000 /* source ports of one pair of hosts, from FIRST_PORT on */
#define FRAME 60
#define DATA 42 /* where the number is: behind Ethernet, IPv4 and UDP; for TCP it is in the sequence number and behind */
#define TCP_DATA 54
#define TCP_FRAME 70
#define MAGIC 0x5A657468u
#define BATCH 64
#define BUFFER (4 << 20)
#define LATE_BUCKETS 4096
#define NS 1000000000LL
#define TICK (NS / 2000) /* between two bursts of a steady rate */

struct host {
    char name[IFNAMSIZ];
    uint8_t mac[6];
    uint32_t address;
    int socket;
};

static struct host senders[MAX_HOSTS], receivers[MAX_HOSTS];
static int sender_count, receiver_count, only = -1, port = 9000;
static int tcp;
static uint32_t first_flow;

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec * NS + time.tv_nsec;
}

static void sleep_until(int64_t moment)
{
    struct timespec time = {moment / NS, moment % NS};
    clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &time, NULL);
}

static void parse_host(struct host *host, char *text)
{
    char *name = strtok(text, ","), *mac = strtok(NULL, ","), *address = strtok(NULL, ",");
    unsigned int part[6];
    if (!name || !mac || !address || strlen(name) >= IFNAMSIZ ||
        sscanf(mac, "%x:%x:%x:%x:%x:%x", part, part + 1, part + 2, part + 3, part + 4, part + 5) != 6 ||
        inet_pton(AF_INET, address, &host->address) != 1) {
        fprintf(stderr, "a host is INTERFACE,MAC,ADDRESS\n");
        exit(1);
    }
    strcpy(host->name, name);
    for (int i = 0; i < 6; i++)
        host->mac[i] = (uint8_t)part[i];
}

static void enter(int pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
        fail(path);
    close(fd);
}

/* A socket on a host's interface, one for all hosts there, to send by. One that receives as well takes our packets
 * alone. */
static void open_socket(struct host *hosts, int number, int receives)
{
    struct host *host = &hosts[number];
    for (int i = 0; i < number; i++)
        if (!strcmp(hosts[i].name, host->name)) {
            host->socket = hosts[i].socket;
            return;
        }
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail("socket");
    int size = BUFFER, on = 1;
    if (receives) {
        struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MAGIC, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, 256),
            BPF_STMT(BPF_RET | BPF_K, 0),
        };
        code[0].k = tcp ? TCP_DATA : DATA;
        struct sock_fprog filter = {sizeof code / sizeof *code, code};
        if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) < 0)
            fail("filter");
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
        if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) < 0)
            fail("timestamps");
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
    struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(host->name)};
    where.sll_protocol = receives ? htons(ETH_P_IP) : 0;
    if (!where.sll_ifindex || bind(fd, (struct sockaddr *)&where, sizeof where) < 0)
        fail(host->name);
    host->socket = fd;
}

static uint16_t checksum(const uint8_t *data, int length, uint32_t sum)
{
    for (int i = 0; i < length; i += 2)
        sum += (uint32_t)(data[i] << 8 | data[i + 1]);
    while (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16);
    return (uint16_t)~sum;
}

static void put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, 4);
}

static const struct host *sender_of(uint32_t flow)
{
    return &senders[flow % (uint32_t)sender_count];
}

static const struct host *receiver_of(uint32_t flow)
{
    return &receivers[only >= 0 ? (uint32_t)only : flow / (uint32_t)sender_count % (uint32_t)receiver_count];
}

/* The packet of a flow: its length. */
static int build(uint8_t *frame, uint32_t flow, uint8_t flags, int64_t sent)
{
    const struct host *from = sender_of(flow), *to = receiver_of(flow);
    uint32_t pairs = (uint32_t)sender_count * (only >= 0 ? 1 : (uint32_t)receiver_count);
    uint16_t source = (uint16_t)(FIRST_PORT + flow / pairs % PORTS);
    int length = tcp ? TCP_FRAME : FRAME, data = tcp ? TCP_DATA : DATA;
    memset(frame, 0, (size_t)length);
    memcpy(frame, to->mac, 6);
    memcpy(frame + 6, from->mac, 6);
    put16(frame + 12, ETH_P_IP);
    uint8_t *ip = frame + 14, *l4 = frame + 34;
    ip[0] = 0x45;
    put16(ip + 2, (uint16_t)(length - 14));
    ip[6] = 0x40;
    ip[8] = 64;
    ip[9] = tcp ? IPPROTO_TCP : IPPROTO_UDP;
    memcpy(ip + 12, &from->address, 4);
    memcpy(ip + 16, &to->address, 4);
    put16(ip + 10, checksum(ip, 20, 0));
    put16(l4, source);
    put16(l4 + 2, (uint16_t)port);
    put32(frame + data, MAGIC);
    put32(frame + data + 4, flow);
    memcpy(frame + data + 8, &sent, 8);
    if (tcp) {
        put32(l4 + 4, flow);
        l4[12] = 0x50;
        l4[13] = flags;
        put16(l4 + 14, 64240);
        uint32_t pseudo = IPPROTO_TCP + (uint32_t)(length - 34);
        for (int i = 0; i < 8; i += 2)
            pseudo += (uint32_t)(ip[12 + i] << 8 | ip[13 + i]);
        put16(l4 + 16, checksum(l4, length - 34, pseudo));
    } else {
        put16(l4 + 4, (uint16_t)(length - 34)); /* no checksum, which IPv4 allows (RFC 768) */
    }
    return length;
}

static void send_one(uint32_t flow, uint8_t flags)
{
    uint8_t frame[TCP_FRAME];
    int length = build(frame, flow, flags, now());
    if (send(sender_of(flow)->socket, frame, (size_t)length, 0) < 0 && errno != ENOBUFS && errno != EAGAIN)
        fail("send");
}

/* Packets that have arrived. */

struct arrival {
    uint32_t flow;
    int64_t sent, at;
};

static int receive(int fd, struct arrival *found)
{
    static uint8_t data[BATCH][256], control[BATCH][64];
    static struct mmsghdr messages[BATCH];
    static struct iovec parts[BATCH];
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){data[i], sizeof data[i]};
        messages[i].msg_hdr = (struct msghdr){
            .msg_iov = &parts[i], .msg_iovlen = 1, .msg_control = control[i], .msg_controllen = sizeof control[i]};
    }
    int count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
    if (count < 0 && errno != EAGAIN && errno != EINTR && errno != ENETDOWN)
        fail("recvmmsg");
    int kept = 0, where = tcp ? TCP_DATA : DATA;
    for (int i = 0; i < count; i++) {
        if (messages[i].msg_len < (unsigned int)where + 16)
            continue;
        struct arrival *one = &found[kept++];
        uint32_t flow;
        memcpy(&flow, data[i] + where + 4, 4);
        memcpy(&one->sent, data[i] + where + 8, 8);
        one->flow = ntohl(flow);
        one->at = now();
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&messages[i].msg_hdr); c; c = CMSG_NXTHDR(&messages[i].msg_hdr, c))
            if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
                struct timespec time;
                memcpy(&time, CMSG_DATA(c), sizeof time);
                one->at = time.tv_sec * NS + time.tv_nsec;
            }
    }
    return kept;
}

static struct pollfd polled[2 * MAX_HOSTS + 1];
static int polled_count;

static void poll_hosts(const struct host *hosts, int count)
{
    for (int i = 0; i < count; i++) {
        int j = 0;
        while (j < polled_count && polled[j].fd != hosts[i].socket)
            j++;
        if (j == polled_count)
            polled[polled_count++] = (struct pollfd){hosts[i].socket, POLLIN, 0};
    }
}

static void prepare_poll(void)
{
    poll_hosts(receivers, receiver_count);
}

/* The receiver's answer to a datagram of a flow, which was sent then. */
static void answer(uint32_t flow, int64_t sent)
{
    const struct host *from = receiver_of(flow), *to = sender_of(flow);
    uint8_t frame[FRAME], ports[4];
    build(frame, flow, 0, sent);
    memcpy(frame, to->mac, 6);
    memcpy(frame + 6, from->mac, 6);
    memcpy(frame + 26, &from->address, 4);
    memcpy(frame + 30, &to->address, 4);
    memcpy(ports, frame + 34, 4);
    memcpy(frame + 34, ports + 2, 2);
    memcpy(frame + 36, ports, 2);
    if (send(from->socket, frame, sizeof frame, 0) < 0 && errno != ENOBUFS && errno != EAGAIN)
        fail("answer");
}

/* first */

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

/* How long the packet of a flow takes; -1 if it does not come within `patience`. */
static int64_t probe(uint32_t flow, uint8_t flags, int64_t patience)
{
    struct arrival found[BATCH];
    int64_t begun = now(), end = begun + patience;
    send_one(flow, flags);
    for (int64_t left = patience; left > 0; left = end - now()) {
        struct timespec wait = {left / NS, left % NS};
        if (ppoll(polled, (nfds_t)polled_count, &wait, NULL) <= 0)
            continue;
        for (int i = 0; i < polled_count; i++) {
            int count = polled[i].revents ? receive(polled[i].fd, found) : 0;
            for (int j = 0; j < count; j++)
                if (found[j].flow == flow && found[j].sent >= begun)
                    return found[j].at - begun;
        }
    }
    return -1;
}

static void tell_times(const char *name, int64_t *times, int count, int lost)
{
    qsort(times, (size_t)count, sizeof *times, compare);
    printf("\"%s\": {\"lost\": %d, \"ns\": [", name, lost);
    for (int i = 0; i < count; i++)
        printf("%s%lld", i ? "," : "", (long long)times[i]);
    printf("]}");
}

static int run_first(int count, int interval, int again)
{
    int64_t *times = calloc((size_t)count + 1, sizeof *times), end = now() + 60 * NS;
    uint32_t flow = first_flow;
    prepare_poll();
    while (probe(flow, 0x02, NS / 10) < 0) { /* the controller may not be there yet */
        if (now() > end) {
            fprintf(stderr, "no packet came through within 60 s\n");
            return 1;
        }
        flow++;
    }
    printf("{");
    for (int phase = 0; phase < (again ? 2 : 1); phase++) {
        int kept = 0;
        for (int i = 0; i < count; i++) {
            sleep_until(now() + interval * 1000LL);
            int64_t took = phase ? probe(flow, 0x10, NS) : probe(++flow, 0x02, NS);
            if (took >= 0)
                times[kept++] = took;
        }
        if (phase)
            printf(", ");
        tell_times(phase ? "later" : "first", times, kept, count - kept);
    }
    printf(", \"next\": %u}\n", flow + 1);
    return 0;
}

/* load */

static struct {
    uint32_t flows;
    int rate;
    int64_t began, ended; /* of sending */
    uint32_t sent;
    atomic_int done;
} job;


static void flush_sender(int host, struct mmsghdr *messages, int count)
{
    for (int done = 0; done < count;) {
        int more = sendmmsg(senders[host].socket, messages + done, (unsigned int)(count - done), 0);
        if (more < 0) {
            if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
                fail("sendmmsg");
            more = errno == EINTR ? 0 : 1; /* what the interface does not take is lost, as with a host's own */
        }
        done += more;
    }
}

static void *send_load(void *unused)
{
    (void)unused;
    static struct mmsghdr messages[MAX_HOSTS][BATCH];
    static struct iovec parts[MAX_HOSTS][BATCH];
    static uint8_t data[MAX_HOSTS][BATCH][TCP_FRAME];
    int counts[MAX_HOSTS] = {0};
    job.began = now();
    int64_t end = job.began + (int64_t)job.flows * NS / job.rate;
    while (job.sent < job.flows) {
        int64_t moment = now(), gone = moment - job.began;
        uint32_t due = (uint32_t)(gone * job.rate / NS) + 1;
        if (moment > end + 10 * NS)
            break; /* far behind: the rate cannot be had */
        due = due < job.flows ? due : job.flows;
        while (job.sent < due) {
            uint32_t flow = first_flow + job.sent;
            int host = (int)(flow % (uint32_t)sender_count), at = counts[host]++;
            int length = build(data[host][at], flow, 0x02, moment);
            parts[host][at] = (struct iovec){data[host][at], (size_t)length};
            messages[host][at].msg_hdr = (struct msghdr){.msg_iov = &parts[host][at], .msg_iovlen = 1};
            job.sent++;
            if (counts[host] == BATCH) {
                flush_sender(host, messages[host], BATCH);
                counts[host] = 0;
            }
        }
        for (int host = 0; host < sender_count; host++)
            if (counts[host]) {
                flush_sender(host, messages[host], counts[host]);
                counts[host] = 0;
            }
        if (job.sent < job.flows)
            sleep_until(moment + TICK);
    }
    job.ended = now();
    atomic_store(&job.done, 1);
    return NULL;
}

static int bucket(int64_t late)
{
    int64_t at = late / 1000; /* a microsecond each up to 1,024, then 64 of each doubling */
    if (at < 1024)
        return at < 0 ? 0 : (int)at;
    int shift = 63 - __builtin_clzll((unsigned long long)at) - 6;
    int found = 1024 + (shift - 4) * 64 + (int)((at >> shift) - 64);
    return found < LATE_BUCKETS ? found : LATE_BUCKETS - 1;
}

static double bucket_us(int at)
{
    if (at < 1024)
        return at;
    int shift = (at - 1024) / 64 + 4, rest = (at - 1024) % 64;
    return (double)((int64_t)(64 + rest) << shift);
}

static double share_of(const uint32_t *late, uint32_t total, double share)
{
    uint64_t seen = 0;
    for (int i = 0; i < LATE_BUCKETS; i++)
        if ((seen += late[i]) >= share * total && late[i])
            return bucket_us(i);
    return 0;
}

static int run_load(int rate, double seconds, double patience, double deadline, int answers)
{
    job.rate = rate;
    job.flows = (uint32_t)(rate * seconds);
    uint8_t *arrived = calloc(job.flows, 1), *answered = calloc(job.flows, 1);
    uint32_t late[LATE_BUCKETS] = {0}, unique = 0, again = 0, strange = 0, too_late = 0;
    int series = (int)(seconds + patience) + 2;
    uint32_t *per_second = calloc((size_t)series, sizeof *per_second);
    struct arrival found[BATCH];
    pthread_t thread;
    prepare_poll();
    int receiving = polled_count; /* the others send, and what comes to them are answers */
    if (answers)
        poll_hosts(senders, sender_count);
    int64_t begun = now(), end = 0;
    if (pthread_create(&thread, NULL, send_load, NULL))
        fail("thread");
    while (unique < job.flows) {
        int ready = poll(polled, (nfds_t)polled_count, 20);
        if (atomic_load(&job.done)) {
            if (!end)
                end = now() + (int64_t)(patience * NS);
            if (now() > end)
                break;
        }
        for (int i = 0; ready > 0 && i < polled_count; i++) {
            if (!polled[i].revents)
                continue;
            int count = receive(polled[i].fd, found);
            for (int j = 0; j < count; j++) {
                uint32_t number = found[j].flow - first_flow;
                if (number >= job.flows) {
                    strange++;
                } else if (answers && i < receiving) {
                    again += answered[number];
                    if (!answered[number])
                        answer(found[j].flow, found[j].sent);
                    answered[number] = 1;
                } else if (arrived[number]) {
                    again++;
                } else {
                    arrived[number] = 1;
                    unique++;
                    too_late += found[j].at - found[j].sent > (int64_t)(deadline * NS);
                    late[bucket(found[j].at - found[j].sent)]++;
                    int64_t second = (found[j].sent - begun) / NS;
                    if (second >= 0 && second < series)
                        per_second[second]++;
                }
            }
        }
    }
    pthread_join(thread, NULL);
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                 (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    double took = (double)(job.ended - job.began) / 1e9;
    printf("{\"flows\": %u, \"sent\": %u, \"arrived\": %u, \"again\": %u, \"strange\": %u, \"late\": %u, \"seconds\": %.3f, "
           "\"rate\": %.1f, \"cpu\": %.3f, \"p50_us\": %.0f, \"p99_us\": %.0f, \"max_us\": %.0f, \"per_second\": [",
           job.flows, job.sent, unique, again, strange, too_late, took, job.sent / (took > 0 ? took : 1), cpu,
           share_of(late, unique, 0.5), share_of(late, unique, 0.99), share_of(late, unique, 1.0));
    for (int i = 0; i < (int)seconds; i++)
        printf("%s%u", i ? "," : "", per_second[i]);
    printf("], \"next\": %u}\n", first_flow + job.flows);
    return 0;
}

/* stream */

static struct {
    int every, flows;
    int64_t end;
    atomic_int done;
    uint32_t sent;
} river;

static void *send_stream(void *unused)
{
    (void)unused;
    int64_t next = now();
    for (uint32_t i = 0; now() < river.end; i++) {
        send_one(first_flow + i % (uint32_t)river.flows, 0x10);
        river.sent++;
        next += river.every * 1000LL;
        if (next < now() - NS / 100)
            next = now(); /* not all that was missed at once */
        sleep_until(next);
    }
    atomic_store(&river.done, 1);
    return NULL;
}

/* Says "ready" once a packet of each flow has come. Ends when, after standard input was closed, nothing came for a while,
 * or when the time is over. */
static int run_stream(int every, int flows, double seconds, double quiet)
{
    struct arrival found[BATCH];
    pthread_t thread;
    uint8_t *seen = calloc((size_t)flows, 1);
    int missing = flows, closing = 0;
    uint32_t arrived = 0;
    int64_t last = 0;
    river.every = every;
    river.flows = flows;
    river.end = now() + (int64_t)(seconds * NS);
    prepare_poll();
    polled[polled_count] = (struct pollfd){STDIN_FILENO, POLLIN, 0};
    if (pthread_create(&thread, NULL, send_stream, NULL))
        fail("thread");
    while (!atomic_load(&river.done)) {
        int ready = poll(polled, (nfds_t)(polled_count + !closing), 10);
        closing = closing || polled[polled_count].revents;
        for (int i = 0; ready > 0 && i < polled_count; i++) {
            int count = polled[i].revents ? receive(polled[i].fd, found) : 0;
            for (int j = 0; j < count; j++) {
                uint32_t number = found[j].flow - first_flow;
                if (number >= (uint32_t)flows)
                    continue;
                arrived++;
                last = found[j].at > last ? found[j].at : last;
                if (!seen[number]) {
                    seen[number] = 1;
                    if (!--missing) {
                        printf("ready\n");
                        fflush(stdout);
                    }
                }
            }
        }
        if (closing && now() - last > (int64_t)(quiet * NS))
            river.end = 0;
    }
    pthread_join(thread, NULL);
    printf("{\"sent\": %u, \"arrived\": %u, \"last_ns\": %lld, \"ended\": %s}\n", river.sent, arrived,
           (long long)last, now() - last > (int64_t)(quiet * NS) ? "true" : "false");
    return missing != 0;
}

/* steady */

static struct {
    int every, flows;
    int64_t end, *sent_at; /* sent_at: of each packet; 0 if the interface did not take it */
    uint32_t most;
    atomic_uint sent;
    atomic_int closing, done;
} steady;

static void *send_steady(void *unused)
{
    (void)unused;
    uint8_t frame[TCP_FRAME];
    int64_t next = now();
    for (uint32_t i = 0; i < steady.most && now() < steady.end && !atomic_load(&steady.closing); i++) {
        uint32_t flow = first_flow + i % (uint32_t)steady.flows;
        int length = build(frame, flow, 0x10, i); /* its number where others have the time */
        int64_t moment = now();
        if (send(sender_of(flow)->socket, frame, (size_t)length, 0) < 0) {
            if (errno != ENOBUFS && errno != EAGAIN)
                fail("send");
            moment = 0;
        }
        steady.sent_at[i] = moment;
        atomic_store(&steady.sent, i + 1);
        next += steady.every * 1000LL;
        if (next < now() - NS / 100)
            next = now(); /* not all that was missed at once */
        sleep_until(next);
    }
    atomic_store(&steady.done, 1);
    return NULL;
}

/* Says "ready" once all flows are open. Sends until standard input is closed or the time is over, and ends when nothing
 * has come for a while after that. */
static int run_steady(int every, int flows, double seconds, double quiet, int answers)
{
    struct arrival found[BATCH];
    pthread_t thread;
    prepare_poll();
    for (int i = 0; i < flows; i++) {
        int tries = 50;
        while (probe(first_flow + (uint32_t)i, 0x02, NS / 10) < 0)
            if (!--tries) {
                fprintf(stderr, "a flow cannot be opened\n");
                return 1;
            }
        if (answers)
            answer(first_flow + (uint32_t)i, 0);
    }
    steady.every = every;
    steady.flows = flows;
    steady.most = (uint32_t)(seconds * 1e6 / every) + 1;
    steady.sent_at = calloc(steady.most, sizeof *steady.sent_at);
    uint8_t *seen = calloc(steady.most, 1);
    uint32_t arrived = 0, again = 0, strange = 0, refused = 0, lost = 0;
    int64_t last = now(), slowest = 0, slowest_sent = 0, first_lost = 0, last_lost = 0;
    steady.end = last + (int64_t)(seconds * NS);
    if (pthread_create(&thread, NULL, send_steady, NULL))
        fail("thread");
    printf("ready\n");
    fflush(stdout);
    polled[polled_count] = (struct pollfd){STDIN_FILENO, POLLIN, 0};
    while (!atomic_load(&steady.done) || now() - last < (int64_t)(quiet * NS)) {
        int ready = poll(polled, (nfds_t)(polled_count + !atomic_load(&steady.closing)), 10);
        if (ready > 0 && polled[polled_count].revents)
            atomic_store(&steady.closing, 1);
        for (int i = 0; ready > 0 && i < polled_count; i++) {
            int count = polled[i].revents ? receive(polled[i].fd, found) : 0;
            for (int j = 0; j < count; j++) {
                if (found[j].flow - first_flow >= (uint32_t)flows || found[j].sent < 0 ||
                    found[j].sent > atomic_load(&steady.sent)) {
                    strange++; /* of other flows, or another packet of one that was being opened */
                    continue;
                }
                uint32_t number = (uint32_t)found[j].sent;
                last = now();
                if (number >= steady.most || seen[number]) {
                    again++;
                    continue;
                }
                seen[number] = 1;
                arrived++;
                int64_t took = steady.sent_at[number] ? found[j].at - steady.sent_at[number] : 0;
                if (took > slowest) {
                    slowest = took;
                    slowest_sent = steady.sent_at[number];
                }
            }
        }
    }
    pthread_join(thread, NULL);
    for (uint32_t i = 0; i < steady.sent; i++) {
        if (!steady.sent_at[i]) {
            refused++;
        } else if (!seen[i]) {
            lost++;
            last_lost = steady.sent_at[i];
            first_lost = first_lost ? first_lost : last_lost;
        }
    }
    printf("{\"sent\": %u, \"arrived\": %u, \"lost\": %u, \"refused\": %u, \"again\": %u, \"strange\": %u, "
           "\"slowest_us\": %.0f, \"slowest_ns\": %lld, \"first_lost_ns\": %lld, \"last_lost_ns\": %lld}\n",
           steady.sent - refused, arrived, lost, refused, again, strange, (double)slowest / 1000,
           (long long)slowest_sent, (long long)first_lost, (long long)last_lost);
    return 0;
}

/* Each receiver says once who it is, for switches that learn where hosts are. */
static void introduce(void)
{
    for (int i = 0; i < receiver_count; i++) {
        uint8_t frame[FRAME] = {0};
        memcpy(frame, senders[0].mac, 6);
        memcpy(frame + 6, receivers[i].mac, 6);
        put16(frame + 12, 0x88B5); /* local experiments (IEEE 802) */
        if (send(receivers[i].socket, frame, sizeof frame, 0) < 0)
            fail("introduce");
    }
}

int main(int argc, char **argv)
{
    int from = 0, to = 0, count = 300, interval = 3000, rate = 1000, every = 50, flows = 8, again = 0, hello = 0, answers = 0;
    double seconds = 1, patience = 2, quiet = 0.1, deadline = 0.5;
    const char *mode = argc > 1 ? argv[1] : "";
    enum { FROM = 1, TO, SENDER, RECEIVER, COUNT, INTERVAL, RATE, SECONDS, PATIENCE, EVERY, FLOWS, FIRST, ONLY, PORT,
           TCP, AGAIN, QUIET, HELLO, DEADLINE, ANSWER };
    static const struct option options[] = {
        {"from", 1, 0, FROM}, {"to", 1, 0, TO}, {"sender", 1, 0, SENDER}, {"receiver", 1, 0, RECEIVER},
        {"count", 1, 0, COUNT}, {"interval", 1, 0, INTERVAL}, {"rate", 1, 0, RATE}, {"seconds", 1, 0, SECONDS},
        {"patience", 1, 0, PATIENCE}, {"every", 1, 0, EVERY}, {"flows", 1, 0, FLOWS}, {"first", 1, 0, FIRST},
        {"only", 1, 0, ONLY}, {"port", 1, 0, PORT}, {"tcp", 0, 0, TCP}, {"again", 0, 0, AGAIN},
        {"quiet", 1, 0, QUIET}, {"hello", 0, 0, HELLO},
        {"deadline", 1, 0, DEADLINE}, {"answer", 0, 0, ANSWER}, {0, 0, 0, 0}};
    optind = 2;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (option) {
        case FROM: from = atoi(optarg); break;
        case TO: to = atoi(optarg); break;
        case SENDER:
            if (sender_count == MAX_HOSTS) return 1;
            parse_host(&senders[sender_count++], optarg);
            break;
        case RECEIVER:
            if (receiver_count == MAX_HOSTS) return 1;
            parse_host(&receivers[receiver_count++], optarg);
            break;
        case COUNT: count = atoi(optarg); break;
        case INTERVAL: interval = atoi(optarg); break;
        case RATE: rate = atoi(optarg); break;
        case SECONDS: seconds = atof(optarg); break;
        case PATIENCE: patience = atof(optarg); break;
        case EVERY: every = atoi(optarg); break;
        case FLOWS: flows = atoi(optarg); break;
        case FIRST: first_flow = (uint32_t)strtoul(optarg, NULL, 10); break;
        case ONLY: only = atoi(optarg); break;
        case PORT: port = atoi(optarg); break;
        case TCP: tcp = 1; break;
        case AGAIN: again = 1; break;
        case QUIET: quiet = atof(optarg); break;
        case HELLO: hello = 1; break;
        case DEADLINE: deadline = atof(optarg); break;
        case ANSWER: answers = 1; break;
        default: return 1;
        }
    if (!sender_count || !receiver_count || !from || !to || only >= receiver_count || count < 1 || rate < 1 ||
        flows < 1 || every < 1 || seconds <= 0) {
        fprintf(stderr, "expected: flows MODE --from PID --to PID --sender HOST … --receiver HOST …\n");
        return 1;
    }
    enter(from);
    for (int i = 0; i < sender_count; i++)
        open_socket(senders, i, answers && !strcmp(mode, "load"));
    enter(to);
    for (int i = 0; i < receiver_count; i++)
        open_socket(receivers, i, 1);
    if (hello)
        introduce();
    if (!strcmp(mode, "first"))
        return run_first(count, interval, again);
    if (!strcmp(mode, "load"))
        return run_load(rate, seconds, patience, deadline, answers);
    if (!strcmp(mode, "stream"))
        return run_stream(every, flows, seconds, quiet);
    if (!strcmp(mode, "steady"))
        return run_steady(every, flows, seconds, quiet, answers);
    fprintf(stderr, "expected first, load, stream or steady, not %s\n", mode);
    return 1;
}
