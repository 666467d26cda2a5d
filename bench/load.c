// load.c - closed-loop load on one URL, which checks every answer it gets.
//
//   load --port N --body FILE [--path P] [--header 'k: v']... --connections N --warm S --seconds S
//        [--tokens N] [--usage] [--ramp S] [--drain S] [--hold]
//
// Keeps N connections busy, each with one request at a time over keep-alive. With --tokens the answers are streams: every
// token must come once and in order ("t<sequence>@<microsecond it was sent>"), then [DONE]; with --usage one usage chunk,
// without it none. The 16 bytes ################ of the body are replaced by a number, so that no two prompts are equal.
//
// Prints "begin" and "end" around the measured window, then one line of JSON. With --hold it opens N streams, prints "held"
// when each has had its first event, and hangs up when standard input ends.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_MAX = 512, READ_BYTES = 1 << 17, HEAD_MAX = 8192, LINE_MAX_BYTES = 4096, RETRY_US = 20000, SILENCE_US = 30000000 };
enum phase { CLOSED, CONNECTING, ASKING, READING };
enum part { HEAD, SIZED, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER };
enum failure { CONNECT, CUT, STATUS, ORDER, INCOMPLETE, USAGE, SILENCE, FAILURES };
static const char *failure_names[] = {"connect", "cut", "status", "order", "incomplete", "usage", "silence"};

struct connection {
  int fd, status, next_token, usage_chunks;
  enum phase phase;
  enum part part;
  bool is_done, is_held;
  int64_t start_at, asked_at, heard_at;
  size_t left, body_bytes, line_length, head_length, unsent_length, unsent_sent;
  char *unsent, last_byte, head[HEAD_MAX], line[LINE_MAX_BYTES];
};
struct samples {
  uint32_t *values;
  size_t count, room;
};

static struct connection *all;
static int poller, port, connections_wanted = 1, tokens_wanted, held, open_requests;
static bool wants_usage, is_holding, is_measuring, is_stopping;
static double warm_s = 1, measure_s = 3, ramp_s, drain_s = 5;
static const char *path = "/v1/chat/completions";
static char *request, *nonce_at;
static size_t request_length;
static int64_t now, next_start_at;
static uint64_t requests_done, tokens_read, reads, failures[FAILURES];
static char failure_sample[256];
static struct samples total, ttft, transit;

static int64_t clock_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}
static void add_sample(struct samples *s, int64_t value) {
  if (!is_measuring) return;
  if (s->count == s->room) s->values = realloc(s->values, (s->room = s->room ? s->room * 2 : 65536) * sizeof *s->values);
  s->values[s->count++] = (uint32_t)(value < 0 ? 0 : value > UINT32_MAX ? UINT32_MAX : value);
}

// ---- one request
static void close_until(struct connection *c, int64_t start_at) {
  if (c->fd >= 0) close(c->fd);
  if (c->phase == ASKING || c->phase == READING) open_requests--;
  free(c->unsent);
  c->unsent = NULL;
  c->fd = -1;
  c->phase = CLOSED;
  c->start_at = start_at;
  if (start_at < next_start_at) next_start_at = start_at;
}
static void fail(struct connection *c, enum failure kind, const char *text, size_t length) {
  failures[kind]++;
  if (!failure_sample[0]) snprintf(failure_sample, sizeof failure_sample, "%.*s", (int)length, text);
  close_until(c, now + RETRY_US);
}
static void watch(struct connection *c, uint32_t events) {
  epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &(struct epoll_event){.events = events, .data.ptr = c});
}
static void ask(struct connection *c) {
  static uint64_t number;
  char digits[17];
  if (is_stopping) return close_until(c, INT64_MAX);
  snprintf(digits, sizeof digits, "%016llx", (unsigned long long)(++number * 0x9E3779B97F4A7C15ull));
  if (nonce_at) memcpy(nonce_at, digits, 16);
  c->status = c->next_token = c->usage_chunks = 0;
  c->is_done = false;
  c->body_bytes = c->line_length = c->head_length = 0;
  c->part = HEAD;
  c->phase = READING;
  c->asked_at = c->heard_at = clock_us();
  open_requests++;
  ssize_t n = send(c->fd, request, request_length, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN) return fail(c, CUT, "sending", 7);
  size_t sent = n < 0 ? 0 : (size_t)n;
  if (sent == request_length) return;
  c->unsent_length = request_length - sent;
  c->unsent_sent = 0;
  c->unsent = memcpy(malloc(c->unsent_length), request + sent, c->unsent_length);
  c->phase = ASKING;
  watch(c, EPOLLIN | EPOLLOUT);
}
static void ask_on(struct connection *c) {
  ssize_t n = send(c->fd, c->unsent + c->unsent_sent, c->unsent_length - c->unsent_sent, MSG_NOSIGNAL);
  if (n < 0 && errno == EAGAIN) return;
  if (n < 0) return fail(c, CUT, "sending", 7);
  c->unsent_sent += (size_t)n;
  if (c->unsent_sent < c->unsent_length) return;
  free(c->unsent);
  c->unsent = NULL;
  c->phase = READING;
  watch(c, EPOLLIN);
}
static void open_connection(struct connection *c) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  c->phase = CONNECTING;
  c->heard_at = now;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  if (connect(c->fd, (struct sockaddr *)&a, sizeof a) && errno != EINPROGRESS) return fail(c, CONNECT, strerror(errno), 64);
  epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &(struct epoll_event){.events = EPOLLIN | EPOLLOUT, .data.ptr = c});
}
static void on_connected(struct connection *c) {
  int error = 0;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
  if (error) return fail(c, CONNECT, strerror(error), 64);
  watch(c, EPOLLIN);
  ask(c);
}
static void finish(struct connection *c) {
  bool is_whole = tokens_wanted ? c->is_done && c->next_token == tokens_wanted : c->body_bytes > 100 && c->last_byte == '}';
  if (!is_whole) return fail(c, INCOMPLETE, c->line, c->line_length);
  if (c->usage_chunks != wants_usage) return fail(c, USAGE, "usage chunks", 12);
  if (is_measuring) requests_done++;
  add_sample(&total, now - c->asked_at);
  open_requests--;
  c->phase = CLOSED;
  ask(c);
}

// ---- reading. Each function returns false once the connection has failed.
static bool on_line(struct connection *c, const char *line, size_t length) {
  if (length < 6 || memcmp(line, "data: ", 6) != 0) return true;
  if (is_holding && !c->is_held) c->is_held = true, held++;
  const char *token = memmem(line, length, "\"content\":\"t", 12);
  if (token) {
    char *at;
    long sequence = strtol(token + 12, &at, 10);
    if (sequence != c->next_token || *at != '@') return fail(c, ORDER, line, length), false;
    if (c->next_token++ == 0) add_sample(&ttft, now - c->asked_at);
    add_sample(&transit, now - strtoll(at + 1, NULL, 10));
    tokens_read += is_measuring;
  } else if (length >= 12 && memcmp(line + 6, "[DONE]", 6) == 0) {
    c->is_done = true;
  } else if (memmem(line, length, "\"choices\":[]", 12)) {
    c->usage_chunks++;
  }
  return true;
}
static bool on_body(struct connection *c, const char *bytes, size_t length) {
  c->body_bytes += length;
  if (length) c->last_byte = bytes[length - 1];
  if (!tokens_wanted) return true;
  while (length) {
    const char *end = memchr(bytes, '\n', length);
    size_t n = end ? (size_t)(end - bytes) : length;
    if (end && c->line_length == 0) {
      if (!on_line(c, bytes, n)) return false;
    } else {
      if (c->line_length + n >= LINE_MAX_BYTES) return fail(c, INCOMPLETE, bytes, n), false;
      memcpy(c->line + c->line_length, bytes, n);
      c->line_length += n;
      if (end) {
        size_t whole = c->line_length;
        c->line_length = 0;
        if (!on_line(c, c->line, whole)) return false;
      }
    }
    n += end != NULL;
    bytes += n;
    length -= n;
  }
  return true;
}
static bool on_head(struct connection *c) {
  c->head[c->head_length] = 0;
  c->status = atoi(c->head + 9);
  if (c->status != 200) return fail(c, STATUS, c->head, c->head_length), false;
  const char *sized = strcasestr(c->head, "\r\ncontent-length:");
  if (sized) c->left = strtoul(sized + 17, NULL, 10);
  else if (!strcasestr(c->head, "\r\ntransfer-encoding:")) return fail(c, INCOMPLETE, c->head, c->head_length), false;
  c->part = sized ? SIZED : CHUNK_SIZE;
  c->head_length = 0;  // from here on the buffer holds chunk-size lines
  return true;
}
// Collects one line of the head or framing in c->head; true when it is whole.
static bool collect(struct connection *c, const char **bytes, const char *end, const char *until, size_t until_length) {
  while (*bytes < end && c->head_length < HEAD_MAX - 1) {
    c->head[c->head_length++] = *(*bytes)++;
    if (c->head_length >= until_length && !memcmp(c->head + c->head_length - until_length, until, until_length)) return true;
  }
  return false;
}
// True when the answer is over; a failed connection is closed and reads as not over.
static bool parse(struct connection *c, const char *bytes, const char *end) {
  while (bytes < end) {
    size_t n = (size_t)(end - bytes);
    switch (c->part) {
    case HEAD:
      if (collect(c, &bytes, end, "\r\n\r\n", 4) && !on_head(c)) return false;
      break;
    case SIZED:
    case CHUNK:
      if (n > c->left) n = c->left;
      if (!on_body(c, bytes, n)) return false;
      bytes += n;
      c->left -= n;
      if (c->left == 0 && c->part == SIZED) return true;
      if (c->left == 0) c->part = CHUNK_END;
      break;
    case CHUNK_END:
      if (collect(c, &bytes, end, "\r\n", 2)) c->head_length = 0, c->part = CHUNK_SIZE;
      break;
    case CHUNK_SIZE:
      if (!collect(c, &bytes, end, "\r\n", 2)) break;
      c->left = strtoul(c->head, NULL, 16);
      c->head_length = 0;
      c->part = c->left ? CHUNK : TRAILER;
      break;
    case TRAILER:
      if (collect(c, &bytes, end, "\r\n", 2)) return true;
      break;
    }
  }
  return false;
}
static void on_readable(struct connection *c) {
  static char buffer[READ_BYTES];
  ssize_t n = recv(c->fd, buffer, sizeof buffer - 1, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) return fail(c, CUT, "hung up on", 10);
  buffer[n] = 0;
  now = c->heard_at = clock_us();
  reads += is_measuring;
  if (parse(c, buffer, buffer + n)) finish(c);
}

// ---- the run
static void start_due(void) {
  if (now < next_start_at || is_stopping) return;
  next_start_at = INT64_MAX;
  for (int i = 0; i < connections_wanted; i++) {
    if (all[i].phase != CLOSED) continue;
    if (all[i].start_at <= now) open_connection(&all[i]);
    else if (all[i].start_at < next_start_at) next_start_at = all[i].start_at;
  }
}
static void drop_silent(void) {
  static int64_t next;
  if (now < next || is_holding) return;
  next = now + 1000000;
  for (int i = 0; i < connections_wanted; i++)
    if (all[i].phase != CLOSED && now - all[i].heard_at > SILENCE_US) fail(&all[i], SILENCE, "no byte in 30 s", 15);
}
static void turn(void) {
  struct epoll_event events[EVENTS_MAX];
  int n = epoll_wait(poller, events, EVENTS_MAX, 2);
  now = clock_us();
  for (int i = 0; i < n; i++) {
    struct connection *c = events[i].data.ptr;
    if (c->phase == CONNECTING) on_connected(c);
    else if (c->phase == ASKING && (events[i].events & EPOLLOUT)) ask_on(c);
    else if (c->phase != CLOSED) on_readable(c);
  }
  start_due();
  drop_silent();
}
static void run_until(int64_t end) {
  for (now = clock_us(); now < end;) turn();
}
static void say(const char *word) {
  puts(word);
  fflush(stdout);
}
static int ascending(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}
static void print_percentiles(const char *name, struct samples *s) {
  if (s->count) qsort(s->values, s->count, sizeof *s->values, ascending);
  printf("\"%s\":", name);
  if (!s->count) printf("null,");
  else printf("{\"p50\":%u,\"p99\":%u,\"max\":%u},", s->values[s->count / 2], s->values[s->count * 99 / 100], s->values[s->count - 1]);
}
static void print_result(double window_s) {
  printf("{\"window_s\":%.4f,\"requests\":%llu,\"tokens\":%llu,\"reads\":%llu,\"unfinished\":%d,", window_s,
         (unsigned long long)requests_done, (unsigned long long)tokens_read, (unsigned long long)reads, open_requests);
  print_percentiles("total_us", &total);
  print_percentiles("ttft_us", &ttft);
  print_percentiles("transit_us", &transit);
  printf("\"failures\":{");
  for (int i = 0, any = 0; i < FAILURES; i++)
    if (failures[i]) printf("%s\"%s\":%llu", any++ ? "," : "", failure_names[i], (unsigned long long)failures[i]);
  printf("},\"failure_sample\":\"");
  for (const char *p = failure_sample; *p; p++) putchar(*p < ' ' || *p == '"' || *p == '\\' ? ' ' : *p);
  say("\"}");
}
static void hold(void) {
  while (held < connections_wanted) turn();
  say("held");
  while (getchar() != EOF) {}
}
static void measure(void) {
  run_until(clock_us() + (int64_t)((warm_s + ramp_s) * 1e6));
  int64_t began = clock_us();
  is_measuring = true;
  say("begin");
  run_until(began + (int64_t)(measure_s * 1e6));
  is_measuring = false;
  is_stopping = true;
  double window_s = (double)(clock_us() - began) / 1e6;
  say("end");
  for (int64_t end = now + (int64_t)(drain_s * 1e6); now < end && open_requests > 0;) turn();
  print_result(window_s);
}
static void read_body(const char *file, const char *headers) {
  FILE *f = fopen(file, "rb");
  if (!f) perror(file), exit(2);
  fseek(f, 0, SEEK_END);
  size_t length = (size_t)ftell(f);
  rewind(f);
  request = malloc(length + strlen(headers) + 512);
  int n = sprintf(request, "POST %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\n%scontent-length: %zu\r\n\r\n", path, port, headers, length);
  request_length = (size_t)n + fread(request + n, 1, length, f);
  fclose(f);
  nonce_at = memmem(request, request_length, "################", 16);
}
int main(int argc, char **argv) {
  char headers[4096] = "";
  const char *body = NULL;
  for (int i = 1; i < argc; i++) {
    const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
    if (!strcmp(name, "--usage")) wants_usage = true;
    else if (!strcmp(name, "--hold")) is_holding = true;
    else if (i++, !strcmp(name, "--port")) port = atoi(value);
    else if (!strcmp(name, "--body")) body = value;
    else if (!strcmp(name, "--path")) path = value;
    else if (!strcmp(name, "--header") && strlen(headers) + strlen(value) + 3 < sizeof headers) strcat(strcat(headers, value), "\r\n");
    else if (!strcmp(name, "--connections")) connections_wanted = atoi(value);
    else if (!strcmp(name, "--warm")) warm_s = atof(value);
    else if (!strcmp(name, "--seconds")) measure_s = atof(value);
    else if (!strcmp(name, "--ramp")) ramp_s = atof(value);
    else if (!strcmp(name, "--drain")) drain_s = atof(value);
    else if (!strcmp(name, "--tokens")) tokens_wanted = atoi(value);
    else return fprintf(stderr, "load: unknown option %s\n", name), 2;
  }
  if (!port || !body) return fprintf(stderr, "load: --port and --body are needed\n"), 2;
  read_body(body, headers);
  poller = epoll_create1(EPOLL_CLOEXEC);
  all = calloc((size_t)connections_wanted, sizeof *all);
  now = next_start_at = clock_us();
  for (int i = 0; i < connections_wanted; i++) all[i] = (struct connection){.fd = -1, .start_at = now + (int64_t)(ramp_s * 1e6 * i / connections_wanted)};
  if (is_holding) hold();
  else measure();
  return 0;
}
