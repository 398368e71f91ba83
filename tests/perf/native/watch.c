/* How late a thread is that nothing of this machine keeps waiting: one on each core, of real-time priority, that wants to
   be woken every millisecond. What it is late by is the kernel's or, on a virtual machine, the host's doing, and every
   figure of a worst case contains it.

   Says `watching` when it does, and then of each time that a thread is more than 3 ms late when it wanted to be woken
   and when it was, in seconds since the epoch. Ends with its standard input, and says then what it has found, as JSON. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { PERIOD_NS = 1000000, LATE_NS = 3000000, PRIORITY = 90, MAX_CORES = 1024 };

static atomic_int is_over, watching;
static atomic_llong latest_ns, late_count;

static int64_t now_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static void *watch(void *core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((int)(intptr_t)core, &set);
    struct sched_param priority = {.sched_priority = PRIORITY};
    if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) ||
        pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority)) {
        fprintf(stderr, "a core cannot be watched: real-time priority is refused\n");
        exit(1);
    }
    watching++;
    const struct timespec period = {.tv_nsec = PERIOD_NS};
    while (!is_over) {
        int64_t wanted = now_ns(CLOCK_MONOTONIC) + PERIOD_NS;
        nanosleep(&period, NULL);
        long long late = now_ns(CLOCK_MONOTONIC) - wanted, known = latest_ns;
        while (late > known && !atomic_compare_exchange_weak(&latest_ns, &known, late)) {}
        if (late <= LATE_NS) continue;
        late_count++;
        double woken = now_ns(CLOCK_REALTIME) / 1e9;
        printf("late %.6f %.6f\n", woken - late / 1e9, woken);
        fflush(stdout);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[MAX_CORES];
    int count = 0;
    cpu_set_t cores;
    if (sched_getaffinity(0, sizeof cores, &cores)) return 1;
    for (int core = 0; core < MAX_CORES && core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, &cores) && !pthread_create(&threads[count], NULL, watch, (void *)(intptr_t)core)) count++;
    while (watching < count) usleep(1000);
    printf("watching\n");
    fflush(stdout);
    char rest[64];
    while (read(STDIN_FILENO, rest, sizeof rest) > 0) {}
    is_over = 1;
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    printf("{\"latest_ms\": %.2f, \"late_times\": %lld}\n", (double)latest_ns / 1e6, (long long)late_count);
    return 0;
}
