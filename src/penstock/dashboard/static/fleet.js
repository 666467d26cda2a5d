// The fleet page: reads its JSON twin once a second and shows it. Nothing here decides anything: what is wrong is in
// the state's own `problems`.

import { Chart } from "./chart.js";
import { DASH, clock, count, duration, durationAxis, plain, rate, span } from "./format.js";
import { showDecisions, showLeanings } from "./routing.js";
import { showModels, showRequests } from "./tables.js";

const BEAT_MS = 1000;
const BEAT_SLOWEST_MS = 15000;
const ANSWER_MS = 5000;
const KEPT_S = 900;
const REQUESTS_SHOWN = 25;
const DECISIONS_ASKED = 40;

const byId = (id) => document.getElementById(id);
const series = { times: [], models: {} };
const hidden = new Set();
let windowS = 300;
let failedOnly = false;
let state = null;
let answeredAt = null;
let misses = 0;
let nextTry = 0;
let timer = 0;
let isAsking = false;

// ---------------------------------------------------------------- asking

async function get(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(ANSWER_MS), headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function ask() {
  const last = series.times.at(-1);
  const missing = last === undefined ? KEPT_S : Math.min(KEPT_S, Math.ceil(Date.now() / 1000 - last) + 3);
  try {
    return await Promise.all([
      get("/api/v1/state"),
      get(`/api/v1/timeseries?window_s=${Math.max(1, missing)}`),
      get(`/api/v1/requests?limit=${REQUESTS_SHOWN}&failed_only=${failedOnly}`),
      get(`/api/v1/decisions?limit=${DECISIONS_ASKED}`),
    ]);
  } catch {
    return null; // away, or slow beyond use: shown as stale
  }
}

async function beat() {
  clearTimeout(timer);
  if (isAsking || document.hidden) return;
  isAsking = true;
  const answer = await ask();
  isAsking = false;
  misses = answer ? 0 : misses + 1;
  const delay = Math.min(BEAT_SLOWEST_MS, BEAT_MS * 2 ** Math.min(misses, 10) * (misses ? 0.5 : 1));
  nextTry = Date.now() + delay;
  timer = setTimeout(beat, delay);
  if (answer) {
    answeredAt = Date.now();
    const [fresh, points, recent, routed] = answer;
    state = fresh;
    merge(points);
    show(recent.requests, routed.decisions);
  }
  showFreshness();
}

// Adds the newest points; what they cover anew replaces what was there.
function merge(fresh) {
  if (!fresh.t.length) return;
  const kept = series.times.filter((time) => time < fresh.t[0] - 0.5 && time > fresh.t.at(-1) - KEPT_S);
  const offset = series.times.length ? series.times.indexOf(kept[0] ?? NaN) : -1;
  const models = {};
  for (const [name, columns] of Object.entries(fresh.models)) {
    models[name] = {};
    for (const [field, values] of Object.entries(columns)) {
      const old = series.models[name]?.[field]?.slice(offset, offset + kept.length);
      models[name][field] = [...(offset >= 0 && old ? old : kept.map(() => null)), ...values];
    }
  }
  series.times = [...kept, ...fresh.t];
  series.models = models;
}

// ---------------------------------------------------------------- showing

function text(id, value) {
  const element = byId(id);
  if (element.textContent !== value) element.textContent = value;
}

function show(requests, decisions) {
  const { gateway, models } = state;
  const sum = (field) => models.reduce((total, model) => total + model[field], 0);
  text("fleet-name", state.fleet);
  text("total-requests", rate(sum("requests_per_s")));
  text("total-tokens", count(sum("tokens_per_s")));
  text("total-in-flight", count(gateway.in_flight));
  text("total-connections", count(gateway.connections));
  text("total-uptime", span(state.uptime_s));
  byId("first-request").hidden = gateway.requests_total > 0 || !models.length;
  text("first-when", gateway.is_ready ? "Send" : "As soon as a replica is ready, send");
  text("first-command", firstCommand());
  showProblems();
  showModels(byId("model-table"), models, tone);
  showLegend();
  showCharts();
  showRequests(byId("request-table"), requests);
  byId("request-table").hidden = !requests.length;
  byId("no-requests").hidden = requests.length > 0;
  showLeanings(byId("leaning-list"), gateway);
  byId("leanings").hidden = !byId("leaning-list").children.length;
  showDecisions(byId("decision-table"), decisions);
  byId("routing").hidden = !decisions.length;
  text("no-requests", failedOnly ? "No request has ended other than ok." : "No request has finished yet.");
}

function showProblems() {
  const list = byId("problems");
  const wanted = JSON.stringify(state.problems);
  if (list.dataset.shown === wanted) return;
  list.dataset.shown = wanted;
  list.hidden = !state.problems.length;
  list.replaceChildren(
    ...state.problems.map(({ severity, subject, message }) => {
      const item = document.createElement("li");
      const kind = document.createElement("span");
      const name = document.createElement("b");
      const words = document.createElement("span");
      item.className = severity;
      kind.className = "kind";
      [kind.textContent, name.textContent, words.textContent] = [severity, subject, message];
      item.append(kind, name, words);
      return item;
    }),
  );
}

function verdict() {
  if (misses && answeredAt !== null) return ["stale", "No answer"];
  if (!state) return misses ? ["stale", "No answer yet"] : ["unknown", "Connecting…"];
  const number = (severity) => state.problems.filter((p) => p.severity === severity).length;
  const [broken, warnings] = [number("broken"), number("warning")];
  const warned = warnings ? `${warnings} warning${warnings > 1 ? "s" : ""}` : "";
  if (broken) return ["broken", [`${broken} broken`, warned].filter(Boolean).join(", ")];
  if (warned) return ["warning", warned];
  return number("notice") ? ["notice", "Starting"] : ["good", "All good"];
}

function showFreshness() {
  const [mood, words] = verdict();
  document.body.dataset.mood = mood;
  text("verdict-text", words);
  const mark = { broken: "✕ ", stale: "? ", warning: "! " }[mood] ?? "";
  document.title = `${mark}${state ? `${state.fleet} · ` : ""}Penstock`;
  const stale = byId("stale");
  stale.hidden = !misses;
  if (!misses) return;
  const since = answeredAt === null ? "" : ` since ${clock(answeredAt / 1000)}`;
  text("stale-since", `The gateway has not answered this page${since}.`);
  const old = answeredAt === null ? "" : `Below is what was true ${span((Date.now() - answeredAt) / 1000)} ago. `;
  text("stale-next", `${old}Next try in ${Math.max(0, Math.ceil((nextTry - Date.now()) / 1000))} s.`);
}

function firstCommand() {
  const [, port] = state.gateway.listen.match(/:(\d+)$/) ?? [, "8080"];
  const bound = state.gateway.listen.replace(/:\d+$/, "");
  const host = ["0.0.0.0", "[::]", "::"].includes(bound) ? location.hostname : bound;
  const body = { model: state.models[0]?.name ?? "", stream: true, messages: [{ role: "user", content: "Say hello." }] };
  return [
    `curl -N http://${host}:${port}/v1/chat/completions \\`,
    `  -H "Authorization: Bearer $PENSTOCK_KEY" -H "Content-Type: application/json" \\`,
    `  -d '${JSON.stringify(body).replaceAll("'", "'\\''")}'`,
  ].join("\n");
}

// ---------------------------------------------------------------- charts

// A model keeps its colour for as long as it is in the file at its place.
const tone = (name) => `c${Math.max(0, state.models.findIndex((model) => model.name === name)) % 8}`;
const shownModels = () => state.models.map((model) => model.name).filter((name) => series.models[name] && !hidden.has(name));

function showLegend() {
  const names = state.models.map((model) => model.name);
  const legend = byId("legend");
  const wanted = JSON.stringify([names, [...hidden]]);
  if (legend.dataset.shown === wanted) return;
  legend.dataset.shown = wanted;
  legend.hidden = names.length < 2;
  legend.replaceChildren(
    ...names.map((name) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      const swatch = document.createElement("i");
      swatch.className = `swatch ${tone(name)}`;
      button.type = "button";
      button.setAttribute("aria-pressed", String(!hidden.has(name)));
      button.append(swatch, name);
      button.addEventListener("click", () => {
        if (!hidden.delete(name)) hidden.add(name);
        showLegend();
        showCharts();
        [...legend.querySelectorAll("button")].find((b) => b.textContent === name)?.focus();
      });
      item.append(button);
      return item;
    }),
  );
}

const MEAN_TICKS = { 60: 1, 300: 5, 900: 10 };

// The mean of the last few seconds at each moment: a rate counted in whole seconds is mostly noise.
function mean(values) {
  const ticks = MEAN_TICKS[windowS];
  if (ticks === 1) return values;
  return values.map((value, i) => {
    if (value === null) return null;
    const known = values.slice(Math.max(0, i - ticks + 1), i + 1).filter((v) => v !== null);
    return known.reduce((a, b) => a + b, 0) / known.length;
  });
}

const RATES = ["requests_per_s", "tokens_per_s", "errors_per_s"];
const column = (name, field) => (RATES.includes(field) ? mean(series.models[name][field]) : series.models[name][field]);

function total(field) {
  const columns = shownModels().map((name) => column(name, field));
  return series.times.map((_, i) => columns.reduce((sum, values) => sum + (values[i] ?? 0), 0));
}

function perModel(field, style = null) {
  const names = shownModels();
  return names.map((name) => ({
    label: names.length > 1 ? name : "",
    tone: tone(name),
    style: style ?? (names.length > 1 ? "line" : "area"),
    values: column(name, field),
  }));
}

function ttftCurves() {
  const named = (curves, label) => curves.map((curve) => ({ ...curve, label: `${curve.label} ${label}`.trim() }));
  return [...named(perModel("ttft_p95_ms", "line"), "p95"), ...named(perModel("ttft_p50_ms", "thin"), "p50")];
}

function inFlightCurves() {
  const waiting = perModel("waiting", "thin").map((curve) => ({ ...curve, label: `${curve.label} waiting`.trim() }));
  return [...perModel("in_flight"), ...waiting.filter((curve) => curve.values.some((value) => value > 0))];
}

const latest = (values) => values.at(-1) ?? null;
const now = (field, format) => [{ label: "", value: format(series.times.length ? latest(total(field)) : null) }];

function worstTtft() {
  const known = shownModels().map((name) => [name, latest(column(name, "ttft_p95_ms"))]).filter(([, v]) => v !== null);
  if (!known.length) return [{ label: "", value: DASH }];
  const [name, worst] = known.reduce((a, b) => (b[1] > a[1] ? b : a));
  return [{ label: known.length > 1 ? `highest p95: ${name}` : "p95", value: duration(worst) }];
}

function errorCurve() {
  const values = total("errors_per_s");
  const isQuiet = values.every((value) => !value);
  return [{ label: "", tone: isQuiet ? "c5" : "alarm", style: isQuiet ? "line" : "area", values }];
}

function errorsNow() {
  const errors = series.times.length ? latest(total("errors_per_s")) : null;
  return [{ label: "", value: rate(errors), alarm: errors > 0 }];
}

function promises() {
  const promised = state.models.filter((model) => !hidden.has(model.name) && model.objectives.ttft_ms !== null);
  return promised.map((model) => ({ value: model.objectives.ttft_ms, tone: tone(model.name) }));
}

const PLANS = [
  {
    name: "Requests",
    unit: "per second",
    format: rate,
    axis: plain,
    curves: () => perModel("requests_per_s"),
    rest: () => now("requests_per_s", rate),
  },
  {
    name: "Tokens generated",
    unit: "per second",
    format: count,
    least: 10,
    curves: () => perModel("tokens_per_s"),
    rest: () => now("tokens_per_s", count),
  },
  {
    name: "Errors",
    unit: "per second: shed, timeout, upstream",
    format: rate,
    axis: plain,
    curves: errorCurve,
    rest: errorsNow,
  },
  {
    name: "Time to first token",
    unit: "p95; p50 dotted, objective dashed",
    wide: true,
    format: duration,
    axis: durationAxis,
    least: 10,
    curves: ttftCurves,
    promises,
    rest: worstTtft,
  },
  {
    name: "In flight",
    unit: "requests; waiting dotted",
    format: count,
    least: 4,
    curves: inFlightCurves,
    rest: () => now("in_flight", count),
  },
];
const pointAll = (time) => CHARTS.forEach(({ chart }) => chart.point(time));
const CHARTS = PLANS.map((plan) => ({ ...plan, chart: new Chart({ ...plan, onCursor: pointAll }) }));

byId("charts").append(...CHARTS.map(({ chart }) => chart.figure));

function showCharts() {
  if (!state) return;
  const to = series.times.at(-1) ?? Date.now() / 1000;
  const known = to - (series.times[0] ?? to);
  const from = to - Math.min(windowS, Math.max(60, known)); // the first minutes are not drawn into a corner
  const first = series.times.findIndex((time) => time >= from - 1);
  const times = first < 0 ? [] : series.times.slice(first);
  for (const { chart, curves, promises: promised, rest } of CHARTS) {
    const drawn = curves().map((curve) => ({ ...curve, values: first < 0 ? [] : curve.values.slice(first) }));
    chart.draw({ from, to, times, curves: drawn, promises: promised ? promised() : [], rest: rest() });
  }
}

// ---------------------------------------------------------------- what a person can do

byId("windows").addEventListener("change", (event) => {
  windowS = Number(event.target.value);
  byId("twin-timeseries").href = `/api/v1/timeseries?window_s=${windowS}`;
  showCharts();
});
byId("filters").addEventListener("change", (event) => {
  failedOnly = event.target.value === "failed";
  byId("twin-requests").href = `/api/v1/requests?limit=${REQUESTS_SHOWN}${failedOnly ? "&failed_only=true" : ""}`;
  beat();
});
byId("first-copy").addEventListener("click", async () => {
  const command = byId("first-command");
  try {
    await navigator.clipboard.writeText(command.textContent);
    text("first-copy", "Copied");
  } catch {
    getSelection().selectAllChildren(command); // no clipboard without HTTPS: the person copies
    text("first-copy", "Selected");
  }
  setTimeout(() => text("first-copy", "Copy"), 2000);
});
document.addEventListener("visibilitychange", beat);
addEventListener("online", beat);
setInterval(showFreshness, BEAT_MS);
beat();
