// The tables of models and requests. Rows are kept and changed in place, so that selection, focus and a screen reader's place survive.

import { DASH, clock, count, duration, rate, span } from "./format.js";

const ENGINES = { vllm: "vLLM", simulated: "simulated engine", external: "runs elsewhere" };
const ERRORS = ["shed", "timeout", "upstream_error"];

// Makes the children of `parent` those of `items`, keyed: known ones are updated, new ones made, others removed.
export function keep(parent, items, key, make, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = items.map((item) => {
    const name = key(item);
    const child = known.get(name) ?? make(item);
    known.delete(name);
    child.dataset.key = name;
    update(child, item);
    return child;
  });
  const used = new Set(wanted);
  for (const child of [...parent.children]) if (!used.has(child)) child.remove();
  wanted.forEach((child, place) => {
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
}

export function put(element, value) {
  if (element.textContent !== value) element.textContent = value;
  element.classList.toggle("none", value === DASH);
  return element;
}

export function element(name, className = "", ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

export function cell(label, className = "") {
  const made = element("td", className);
  made.dataset.label = label;
  return made;
}

const FIGURES = [
  ["Requests/s", "number model-only"],
  ["TTFT p50 · p95", "number model-only"],
  ["TPOT p50 · p95", "number model-only"],
  ["E2E p50 · p95", "number model-only"],
  ["Queued", "number model-only"],
  ["In flight", "number"],
  ["Running", "number"],
  ["Waiting", "number"],
];

function row(kind) {
  const level = element("div", "level");
  const bar = element("div", "kv", element("div", "track", level), element("span", "share"));
  const kv = cell("KV cache", "kv-cell");
  kv.append(bar);
  const head = element("th");
  head.scope = "row";
  const chip = element("td");
  chip.append(element("span", "chip"));
  const figures = FIGURES.map(([label, className]) => cell(label, className));
  return element("tr", kind, head, chip, ...figures, kv, cell("Tokens/s", "number"));
}

function fill(tr, values) {
  [...tr.querySelectorAll("td.number")].forEach((td, i) => {
    put(td, values[i]);
    td.classList.toggle("empty", values[i] === "");
  });
}

function setKv(tr, usage) {
  const bar = tr.querySelector(".kv");
  const share = usage === null ? DASH : `${Math.round(usage * 100)}%`;
  put(bar.lastChild, share);
  bar.firstChild.hidden = usage === null;
  bar.querySelector(".level").style.width = `${(usage ?? 0) * 100}%`;
  bar.classList.toggle("full", usage !== null && usage >= 0.95);
}

function setChip(tr, [mood, words]) {
  const chip = tr.querySelector(".chip");
  const wanted = `chip ${mood}`;
  if (chip.className !== wanted) chip.className = wanted;
  put(chip, words);
}

// ---------------------------------------------------------------- models

function modelChip({ replicas_ready: ready, replicas_desired: desired, endpoints }) {
  if (!desired && !endpoints.length) return ["", "no replicas"];
  const words = `${ready}/${desired} ready`;
  if (ready >= desired) return ["good", words];
  if (ready) return ["warning", words];
  return [endpoints.some((e) => replicaChip(e)[0] === "notice") ? "notice" : "broken", words];
}

function replicaChip({ health, phase, health_detail: detail }) {
  if (health === "down") return ["broken", detail?.condition === "trial" ? "on trial" : "out"];
  if (phase === "backoff" || phase === "recycling") return ["broken", phase === "backoff" ? "restarting" : "stuck"];
  if (health === "draining" || ["draining", "stopping", "killing"].includes(phase)) return ["", phase];
  if (health === "ready" && ["slow", "recovering"].includes(detail?.condition)) return ["warning", detail.condition];
  if (health === "ready") return ["good", "ready"];
  return ["notice", phase === "ready" ? "unproven" : phase];
}

// Two percentiles; the unit once where it is the same.
function pair({ p50, p95 }) {
  if (p95 === null) return DASH;
  const [low, high] = [duration(p50), duration(p95)];
  const unit = (shown) => shown.slice(shown.indexOf(" "));
  return `${unit(low) === unit(high) ? low.slice(0, low.indexOf(" ")) : low} · ${high}`;
}

function sumKnown(endpoints, field) {
  const known = endpoints.map((e) => e[field]).filter((value) => value !== null);
  return known.length ? known.reduce((a, b) => a + b, 0) : null;
}

const SIGNS = {
  slow: "slower than the others, so it gets fewer requests",
  recovering: "back, and gets its share again step by step",
};

// Why a replica is not used as the others are, and when it is tried again.
function whyNot({ health_detail: detail, last_error: error, health }) {
  if (!detail) return error;
  if (health === "ready") return SIGNS[detail.condition] ?? error;
  const next = detail.next_try_s ? `next try in ${span(detail.next_try_s)}` : "";
  return [detail.why || error, health === "down" ? next : ""].filter(Boolean).join("; ");
}

// What waits in the gateway by class, those without anybody left out.
function queued(waiting) {
  return Object.entries(waiting ?? {}).filter(([, n]) => n).map(([name, n]) => `${count(n)} ${name}`).join(", ");
}

function updateModel(tr, model, tone) {
  const { endpoints, objectives } = model;
  const aliases = model.aliases.length ? `also ${model.aliases.join(", ")} · ` : "";
  const why = model.engine_reason ? `: ${model.engine_reason.split(/: | \(/)[0]}` : "";
  const head = tr.querySelector("th");
  if (!head.firstChild) head.append(element("i", "swatch"), element("span"), element("small"));
  head.firstChild.className = `swatch ${tone(model.name)}`;
  put(head.children[1], model.name);
  head.children[2].title = model.engine_reason;
  put(head.children[2], `${aliases}${ENGINES[model.engine] ?? model.engine}${why}`);
  setChip(tr, modelChip(model));
  if (!head.querySelector(".waits")) head.append(element("small", "waits"));
  const waits = queued(model.waiting);
  const longest = model.queue_ms?.interactive?.p95 ?? null;
  const told = waits && longest !== null ? `, p95 of interactive ${duration(longest)}` : "";
  put(head.querySelector(".waits"), waits && `${waits} wait${told}`);
  head.querySelector(".waits").hidden = !waits;
  const usage = sumKnown(endpoints, "kv_usage");
  fill(tr, [
    rate(model.requests_per_s),
    pair(model.ttft_ms),
    pair(model.tpot_ms),
    pair(model.total_ms),
    count(Object.values(model.waiting ?? {}).reduce((a, b) => a + b, 0)),
    count(model.in_flight),
    count(sumKnown(endpoints, "running")),
    count(sumKnown(endpoints, "waiting")),
    count(model.tokens_per_s),
  ]);
  setKv(tr, usage === null ? null : usage / endpoints.filter((e) => e.kv_usage !== null).length);
  mark(tr.children[3], model.ttft_ms.p95, objectives.ttft_ms);
  mark(tr.children[4], model.tpot_ms.p95, objectives.itl_ms);
  mark(tr.children[5], model.total_ms.p95, objectives.e2e_ms);
}

function mark(td, measured, promised) {
  td.classList.toggle("missed", promised !== null && measured !== null && measured > promised);
  td.title = promised === null ? "" : `objective: p95 at most ${duration(promised)}`;
}

function updateReplica(tr, endpoint) {
  const head = tr.querySelector("th");
  if (!head.firstChild) head.append(element("span"), element("small"));
  put(head.firstChild, endpoint.id);
  const [mood, words] = replicaChip(endpoint);
  const restarts = endpoint.restarts ? `restarted ${endpoint.restarts === 1 ? "once" : `${endpoint.restarts} times`}` : "";
  const error = mood === "good" ? "" : whyNot(endpoint);
  put(head.lastChild, [restarts, error].filter(Boolean).join(": "));
  head.lastChild.hidden = !head.lastChild.textContent;
  head.title = endpoint.url;
  setChip(tr, [mood, words]);
  const { in_flight: inFlight, running, waiting, tokens_per_s: tokens } = endpoint;
  fill(tr, ["", "", "", "", "", count(inFlight), count(running), count(waiting), count(tokens)]);
  setKv(tr, endpoint.kv_usage);
}

// Replicas shown of a large pool: what is not well, then as many others as fit, unless a person asked for all.
const REPLICAS_SHOWN = 8;
const expanded = new Set();

function rowsOf(model) {
  const { name, endpoints } = model;
  if (endpoints.length <= REPLICAS_SHOWN) return [model, ...endpoints];
  if (expanded.has(name)) return [model, ...endpoints, { more: name, words: "show fewer" }];
  const unwell = endpoints.filter((e) => replicaChip(e)[0] !== "good");
  const shown = new Set([...unwell, ...endpoints].slice(0, Math.max(REPLICAS_SHOWN, unwell.length)));
  const words = `show ${endpoints.length - shown.size} more, all ready`;
  return [model, ...endpoints.filter((e) => shown.has(e)), { more: name, words }];
}

function makeMore({ more }) {
  const button = element("button");
  button.type = "button";
  button.addEventListener("click", () => {
    if (!expanded.delete(more)) expanded.add(more);
    button.textContent = "…"; // until the next second's rows
  });
  const td = element("td", "", button);
  td.colSpan = 12;
  return element("tr", "more", td);
}

function makeRow(item) {
  if (item.more) return makeMore(item);
  return row(item.endpoints ? "model" : "replica");
}

function updateRow(tr, item, tone) {
  if (item.more) put(tr.querySelector("button"), item.words);
  else if (item.endpoints) updateModel(tr, item, tone);
  else updateReplica(tr, item);
}

export function showModels(table, models, tone) {
  const known = new Map([...table.tBodies].map((body) => [body.dataset.key, body]));
  models.forEach((model, place) => {
    const body = known.get(model.name) ?? element("tbody");
    known.delete(model.name);
    body.dataset.key = model.name;
    if (table.tBodies[place] !== body) table.insertBefore(body, table.tBodies[place] ?? null);
    const key = (item) => (item.more ? "more" : item.endpoints ? "model" : `replica ${item.id}`);
    keep(body, rowsOf(model), key, makeRow, (tr, item) => updateRow(tr, item, tone));
  });
  for (const body of known.values()) body.remove();
}

// ---------------------------------------------------------------- requests

const COLUMNS = ["Time", "Model", "Endpoint", "Tenant", "Outcome", "TTFT", "Total", "Tokens in · out"];
const CLASSES = ["time", "", "", "", "outcome", "number", "number", "number"];

function makeRequest(request) {
  const tr = element("tr");
  const tokens = request.output_tokens === null && request.prompt_tokens === null;
  const values = [
    clock(Date.parse(request.at) / 1000),
    request.model || request.requested_model || DASH,
    request.endpoint || DASH,
    request.tenant || DASH,
    "",
    duration(request.ttft_ms),
    duration(request.total_ms),
    tokens ? DASH : `${count(request.prompt_tokens)} · ${count(request.output_tokens)}`,
  ];
  tr.append(...values.map((value, i) => put(cell(COLUMNS[i], CLASSES[i]), value)));
  const mood = request.outcome === "ok" ? "good" : ERRORS.includes(request.outcome) ? "broken" : "";
  const outcome = tr.children[4];
  delete outcome.dataset.label;
  delete tr.children[0].dataset.label;
  outcome.append(element("span", `chip ${mood}`, request.outcome.replace("_", " ")));
  if (request.reason) outcome.append(" ", request.reason.replaceAll("_", " "));
  if (request.retries) outcome.append(` (${request.retries === 1 ? "1 retry" : `${request.retries} retries`})`);
  tr.title = [request.request_id, request.route, request.status || "no status"].filter(Boolean).join("  ");
  return tr;
}

// Rows hold still while a mouse is over them: they can be read and copied.
export function showRequests(table, requests) {
  if (table.matches(":hover") && matchMedia("(hover: hover)").matches && table.tBodies[0].children.length) return;
  const key = (request) => `${request.at} ${request.request_id}`;
  keep(table.tBodies[0], requests, key, makeRequest, () => {});
}
