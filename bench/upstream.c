// upstream.c - a fake engine that costs almost nothing, so that a gateway can be measured in front of it.
//
//   upstream --port 0 [--model NAME]        prints "port N" when it listens
//
// POST /v1/chat/completions (or /v1/completions)
//   plain:  one JSON answer of about 600 bytes in vLLM's shape
//   stream: a role chunk, max_tokens token chunks, a finish chunk, the usage chunk where stream_options asks for it,
//           [DONE]. A token is  "content":"t<sequence>@<microsecond of CLOCK_MONOTONIC when it was sent> "
// GET /health /version /v1/models /metrics      what routers ask for
// GET /bench/set?gap_us=20000                   time between the tokens of a stream; 0 = as fast as they are taken
// GET /bench/stats                              what happened so far
//
// One thread, epoll. Paced streams hang in a timer wheel; fast ones are served round robin, one token each per turn.
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

enum { EVENTS_MAX = 512, WHEEL_SLOTS = 1 << 15, TICK_US = 100, HEAD_MAX = 65536 };
enum { ROLE = -1 };  // value of `next` before the role chunk went out

struct link {
  struct link *before, *after;
};
struct connection {
  struct link link;  // in a slot of the wheel or in the fast ring; must stay the first member
  int fd;
  bool is_streaming, wants_usage, is_paced, waits_for_room;
  int next, tokens, prefix_length;
  int64_t due_us, gap_us;
  uint64_t id;
  char prefix[256], *in, *out;
  size_t in_length, in_room, out_length, out_sent, out_room;
};

static struct link wheel[WHEEL_SLOTS], fast;
static int64_t wheel_tick, paced_count;
static int poller, port;
static const char *model = "bench-model";
static int64_t gap_us;
static struct {
  uint64_t connections, plain, streams, finished, cancelled, tokens;
  int64_t open;
} stats;

static int64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}
static void unlink_from_list(struct link *l) {
  l->before->after = l->after;
  l->after->before = l->before;
  l->before = l->after = l;
}
static void append_to(struct link *list, struct link *l) {
  l->before = list->before;
  l->after = list;
  list->before->after = l;
  list->before = l;
}
static void schedule(struct connection *c) {
  int64_t tick = c->due_us / TICK_US;
  append_to(&wheel[(tick > wheel_tick ? tick : wheel_tick + 1) % WHEEL_SLOTS], &c->link);
}
static void stop_stream(struct connection *c) {
  unlink_from_list(&c->link);
  paced_count -= c->is_paced;
  c->is_streaming = c->is_paced = false;
  stats.open--;
}
static void hang_up(struct connection *c) {
  if (c->is_streaming) {
    stop_stream(c);
    stats.cancelled++;
  }
  close(c->fd);
  free(c->in);
  free(c->out);
  free(c);
}
static void watch_room(struct connection *c, bool on) {
  if (c->waits_for_room == on) return;
  c->waits_for_room = on;
  struct epoll_event e = {.events = EPOLLIN | (on ? EPOLLOUT : 0), .data.ptr = c};
  epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}
static bool flush(struct connection *c) {
  while (c->out_sent < c->out_length) {
    ssize_t n = send(c->fd, c->out + c->out_sent, c->out_length - c->out_sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return watch_room(c, true), true;
    if (n < 0) return hang_up(c), false;
    c->out_sent += (size_t)n;
  }
  c->out_sent = c->out_length = 0;
  watch_room(c, false);
  return true;
}
static bool put(struct connection *c, const char *bytes, size_t length) {
  if (c->out_length + length > c->out_room) {
    c->out_room = (c->out_length + length) * 2;
    c->out = realloc(c->out, c->out_room);
  }
  memcpy(c->out + c->out_length, bytes, length);
  c->out_length += length;
  return c->waits_for_room || flush(c);
}
static bool answer(struct connection *c, int status, const char *type, const char *body) {
  char text[8192];
  int n = snprintf(text, sizeof text, "HTTP/1.1 %d %s\r\nserver: uvicorn\r\ncontent-length: %zu\r\ncontent-type: %s\r\n\r\n%s",
                   status, status == 200 ? "OK" : "Not Found", strlen(body), type, body);
  return put(c, text, (size_t)n);
}

// ---- completions
static bool answer_plain(struct connection *c) {
  char body[2048];
  stats.plain++;
  snprintf(body, sizeof body,
           "{\"id\":\"chatcmpl-%016llx\",\"object\":\"chat.completion\",\"created\":1790000000,\"model\":\"%s\",\"choices\":[{\"index\":0,"
           "\"message\":{\"role\":\"assistant\",\"content\":\"Water falls through the pipe and the turbine turns; all that is left to do is "
           "to count the drops.\",\"refusal\":null,\"annotations\":null,\"audio\":null,\"function_call\":null,\"tool_calls\":[],"
           "\"reasoning\":null},\"logprobs\":null,\"finish_reason\":\"stop\",\"stop_reason\":null,\"token_ids\":null}],"
           "\"service_tier\":null,\"system_fingerprint\":null,\"usage\":{\"prompt_tokens\":321,\"total_tokens\":345,"
           "\"completion_tokens\":24,\"prompt_tokens_details\":null},\"prompt_logprobs\":null,\"kv_transfer_params\":null}",
           (unsigned long long)c->id, model);
  return answer(c, 200, "application/json", body);
}
static size_t frame(char *to, const char *event, int length) {
  int n = sprintf(to, "%x\r\n", (unsigned)length);
  memcpy(to + n, event, (size_t)length);
  memcpy(to + n + length, "\r\n", 2);
  return (size_t)(n + length + 2);
}
static size_t delta_chunk(struct connection *c, char *to, const char *delta, const char *finish) {
  char event[768];
  memcpy(event, c->prefix, (size_t)c->prefix_length);
  int n = sprintf(event + c->prefix_length, "%s},\"logprobs\":null,\"finish_reason\":%s,\"token_ids\":null}]}\n\n", delta, finish);
  return frame(to, event, c->prefix_length + n);
}
static size_t last_chunks(struct connection *c, char *to) {
  size_t n = delta_chunk(c, to, "\"content\":\"\"", "\"length\"");
  if (c->wants_usage) {
    char event[512];
    int k = snprintf(event, sizeof event,
                     "data: {\"id\":\"chatcmpl-%016llx\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"%s\","
                     "\"choices\":[],\"usage\":{\"prompt_tokens\":321,\"total_tokens\":%d,\"completion_tokens\":%d}}\n\n",
                     (unsigned long long)c->id, model, 321 + c->tokens, c->tokens);
    n += frame(to + n, event, k);
  }
  n += frame(to + n, "data: [DONE]\n\n", 14);
  memcpy(to + n, "0\r\n\r\n", 5);
  return n + 5;
}
// Sends the next piece of a stream. False: the connection is gone.
static bool step(struct connection *c) {
  char text[4096];
  size_t n = 0;
  if (c->next == ROLE) {
    n = (size_t)sprintf(text, "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
                              "transfer-encoding: chunked\r\n\r\n");
    n += delta_chunk(c, text + n, "\"role\":\"assistant\",\"content\":\"\"", "null");
  } else {
    char delta[80];
    sprintf(delta, "\"content\":\"t%d@%lld \"", c->next, (long long)now_us());
    n = delta_chunk(c, text, delta, "null");
    stats.tokens++;
  }
  if (++c->next == c->tokens) {
    n += last_chunks(c, text + n);
    stop_stream(c);
    stats.finished++;
  }
  return put(c, text, n);
}
// The value after `"name":` in the request's JSON; our own load generator writes no such text into a prompt.
static const char *value_of(const char *body, size_t length, const char *name) {
  const char *at = memmem(body, length, name, strlen(name));
  if (!at) return "";
  for (at += strlen(name); at < body + length && (*at == ' ' || *at == ':'); at++) {}
  return at < body + length ? at : "";
}
static bool complete(struct connection *c, const char *body, size_t length) {
  static uint64_t ids;
  c->id = ++ids * 0x9E3779B97F4A7C15ull + (uint64_t)port;
  if (strncmp(value_of(body, length, "\"stream\""), "true", 4) != 0) return answer_plain(c);
  c->tokens = atoi(value_of(body, length, "\"max_tokens\""));
  if (c->tokens < 1) c->tokens = atoi(value_of(body, length, "\"max_completion_tokens\""));  // some routers rename it
  if (c->tokens < 1) c->tokens = 16;
  c->prefix_length = snprintf(c->prefix, sizeof c->prefix,
                              "data: {\"id\":\"chatcmpl-%016llx\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,"
                              "\"model\":\"%s\",\"choices\":[{\"index\":0,\"delta\":{",
                              (unsigned long long)c->id, model);
  c->wants_usage = strncmp(value_of(body, length, "\"include_usage\""), "true", 4) == 0;
  c->is_streaming = true;
  c->is_paced = gap_us > 0;
  c->gap_us = gap_us;
  c->next = ROLE;
  stats.streams++;
  stats.open++;
  paced_count += c->is_paced;
  if (!c->is_paced) return append_to(&fast, &c->link), true;
  c->due_us = now_us();
  schedule(c);
  return true;
}

// ---- HTTP
static bool answer_get(struct connection *c, const char *path) {
  char body[4096];
  const char *value;
  if (strncmp(path, "/bench/set?", 11) == 0) {
    if ((value = strstr(path, "gap_us="))) gap_us = atoll(value + 7);
    return answer(c, 200, "application/json", "{}");
  }
  if (strncmp(path, "/bench/stats", 12) == 0) {
    snprintf(body, sizeof body, "{\"connections\":%llu,\"plain\":%llu,\"streams\":%llu,\"finished\":%llu,\"cancelled\":%llu,\"tokens\":%llu,\"open\":%lld}",
             (unsigned long long)stats.connections, (unsigned long long)stats.plain, (unsigned long long)stats.streams,
             (unsigned long long)stats.finished, (unsigned long long)stats.cancelled, (unsigned long long)stats.tokens, (long long)stats.open);
    return answer(c, 200, "application/json", body);
  }
  if (strncmp(path, "/health", 7) == 0) return answer(c, 200, "application/json", "");
  if (strncmp(path, "/version", 8) == 0) return answer(c, 200, "application/json", "{\"version\":\"0.32.0\"}");
  if (strncmp(path, "/v1/models", 10) == 0) {
    snprintf(body, sizeof body, "{\"object\":\"list\",\"data\":[{\"id\":\"%s\",\"object\":\"model\",\"created\":1790000000,\"owned_by\":\"vllm\",\"root\":\"%s\",\"parent\":null,\"max_model_len\":131072,\"permission\":[]}]}", model, model);
    return answer(c, 200, "application/json", body);
  }
  if (strncmp(path, "/metrics", 8) == 0) {
    snprintf(body, sizeof body,
             "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine=\"0\",model_name=\"%s\"} %lld.0\n"
             "# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{engine=\"0\",model_name=\"%s\"} 0.0\n"
             "# TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc{engine=\"0\",model_name=\"%s\"} 0.2\n"
             "# TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total{engine=\"0\",model_name=\"%s\"} %llu.0\n",
             model, (long long)stats.open, model, model, model, (unsigned long long)stats.tokens);
    return answer(c, 200, "text/plain; version=0.0.4; charset=utf-8", body);
  }
  return answer(c, 404, "application/json", "{\"detail\":\"Not Found\"}");
}
static const char *header(const char *head, const char *name) {
  const char *at = strcasestr(head, name);
  return at ? at + strlen(name) : NULL;
}
// Joins the chunks of a chunked body in place. Returns the bytes it took, 0 where more must come, -1 where it is broken.
static ssize_t dechunk(char *body, size_t length, size_t *joined) {
  size_t from = 0, to = 0;
  for (;;) {
    char *line_end = memmem(body + from, length - from, "\r\n", 2);
    if (!line_end) return 0;
    char *digits_end;
    size_t size = strtoul(body + from, &digits_end, 16);
    if (digits_end == body + from) return -1;
    from = (size_t)(line_end + 2 - body);
    if (from + size + 2 > length) return 0;
    memmove(body + to, body + from, size);
    from += size + 2;
    to += size;
    if (size == 0) return *joined = to, (ssize_t)from;
  }
}
// Takes the next whole request from the buffer. False: the connection is gone.
static bool take_request(struct connection *c, bool *took) {
  *took = false;
  char *end = memmem(c->in, c->in_length < HEAD_MAX ? c->in_length : HEAD_MAX, "\r\n\r\n", 4);
  if (!end) return c->in_length < HEAD_MAX || (hang_up(c), false);
  *end = 0;
  char *body = end + 4;
  size_t arrived = c->in_length - (size_t)(body - c->in), length = 0;
  const char *declared = header(c->in, "\r\ncontent-length:");
  const char *coding = header(c->in, "\r\ntransfer-encoding: chunked");
  size_t taken = declared ? strtoul(declared, NULL, 10) : 0;
  ssize_t joined = coding ? dechunk(body, arrived, &length) : 0;
  if (joined < 0) return hang_up(c), false;
  if (coding ? joined == 0 : arrived < taken) {
    *end = '\r';
    return true;
  }
  if (coding) taken = (size_t)joined;
  else length = taken;
  *took = true;
  bool is_alive;
  if (strncmp(c->in, "POST /v1/", 9) == 0) is_alive = complete(c, body, length);
  else is_alive = answer_get(c, strchr(c->in, ' ') ? strchr(c->in, ' ') + 1 : "");
  if (!is_alive) return false;
  size_t used = (size_t)(body - c->in) + taken;
  memmove(c->in, c->in + used, c->in_length - used);
  c->in_length -= used;
  return true;
}
static void take_requests(struct connection *c) {
  for (bool took = true; took && !c->is_streaming && c->in_length;)
    if (!take_request(c, &took)) return;
}
static void on_readable(struct connection *c) {
  if (c->in_room - c->in_length < 16384) {
    c->in_room = c->in_room ? c->in_room * 2 : 32768;
    c->in = realloc(c->in, c->in_room);
  }
  ssize_t n = recv(c->fd, c->in + c->in_length, c->in_room - c->in_length, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) return hang_up(c);
  c->in_length += (size_t)n;
  take_requests(c);
}
static void accept_all(int listener) {
  for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct connection *c = calloc(1, sizeof *c);
    c->fd = fd;
    c->link.before = c->link.after = &c->link;
    stats.connections++;
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = c});
  }
}

// ---- pacing
static void turn_wheel(void) {
  for (int64_t now_tick = now_us() / TICK_US; wheel_tick < now_tick;) {
    struct link *slot = &wheel[++wheel_tick % WHEEL_SLOTS], due = {.before = &due, .after = &due};
    while (slot->after != slot) {  // moved away first: a stream may come back into this very slot
      struct link *l = slot->after;
      unlink_from_list(l);
      append_to(&due, l);
    }
    while (due.after != &due) {
      struct connection *c = (struct connection *)due.after;
      unlink_from_list(&c->link);
      if (c->due_us / TICK_US > wheel_tick) {  // a whole turn of the wheel or more away
        schedule(c);
        continue;
      }
      if (c->next != ROLE) c->due_us += c->gap_us;  // the first token follows the role chunk at once
      schedule(c);
      if (step(c) && !c->is_streaming) take_requests(c);
    }
  }
}
static void serve_fast(void) {
  for (struct link *l = fast.after, *after; l != &fast; l = after) {
    after = l->after;
    struct connection *c = (struct connection *)l;
    if (c->waits_for_room) continue;
    if (step(c) && !c->is_streaming) take_requests(c);
  }
}
static bool fast_has_work(void) {
  for (struct link *l = fast.after; l != &fast; l = l->after)
    if (!((struct connection *)l)->waits_for_room) return true;
  return false;
}
static int listen_on(int wanted) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)wanted), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof a;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
  if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096) || getsockname(fd, (struct sockaddr *)&a, &length)) {
    perror("upstream: cannot listen");
    exit(1);
  }
  port = ntohs(a.sin_port);
  return fd;
}
int main(int argc, char **argv) {
  int wanted = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!strcmp(argv[i], "--port")) wanted = atoi(argv[i + 1]);
    else if (!strcmp(argv[i], "--model") && strlen(argv[i + 1]) < 100) model = argv[i + 1];
    else return fprintf(stderr, "upstream: unknown option or too long a name: %s\n", argv[i]), 2;
  }
  for (int i = 0; i < WHEEL_SLOTS; i++) wheel[i].before = wheel[i].after = &wheel[i];
  fast.before = fast.after = &fast;
  wheel_tick = now_us() / TICK_US;
  int listener = listen_on(wanted);
  poller = epoll_create1(EPOLL_CLOEXEC);
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.ptr = NULL});
  printf("port %d\n", port);
  fflush(stdout);
  for (;;) {
    struct epoll_event events[EVENTS_MAX];
    struct timespec wait = {.tv_nsec = fast_has_work() ? 0 : 2 * TICK_US * 1000L};
    int n = epoll_pwait2(poller, events, EVENTS_MAX, fast.after == &fast && !paced_count ? NULL : &wait, NULL);
    for (int i = 0; i < n; i++) {
      struct connection *c = events[i].data.ptr;
      if (!c) accept_all(listener);
      else if ((events[i].events & EPOLLOUT) && !flush(c)) continue;
      else if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c);
    }
    if (paced_count) turn_wheel();
    else wheel_tick = now_us() / TICK_US;
    serve_fast();
  }
}
