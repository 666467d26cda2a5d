// What the gateway leans on, and the last routing decisions with their numbers.

import { DASH, clock, count, duration, span } from "./format.js";
import { cell, element, keep, put } from "./tables.js";

const HOLDERS = {
  redis: "Redis holds them, for all gateways",
  share: "this gateway allows its own share of them",
  memory: "this gateway holds them alone",
};

function limitsLine(limits) {
  if (!limits) return { name: "Limits", mood: "", state: "here", words: HOLDERS.memory };
  const { is_connected: isThere, error, gateways, degraded_total: degraded } = limits;
  const shared = isThere ? `, ${count(gateways)} gateway${gateways === 1 ? "" : "s"}` : error && `: ${error}`;
  const alone = degraded ? `; ${count(degraded)} requests decided alone so far` : "";
  return {
    name: "Limits",
    mood: isThere ? "good" : "warning",
    state: isThere ? "shared" : "away",
    words: `${HOLDERS[limits.source] ?? limits.source}${shared}${alone}`,
  };
}

function ledgerLine(ledger) {
  if (!ledger) return null;
  const { waiting, dropped_total: dropped, is_connected: isThere, journal_error: inMemory, error } = ledger;
  const kept = waiting ? `${count(waiting)} finished requests wait in the journal` : "all use is in the store";
  const lost = dropped ? `; ${count(dropped)} entries lost` : "";
  const why = !isThere && error ? `: ${error}` : "";
  const memory = inMemory ? `; the journal is in memory only: ${inMemory}` : "";
  const mood = dropped ? "broken" : isThere && !inMemory ? "good" : "warning";
  return { name: "Use", mood, state: isThere ? "entered" : "waits", words: `${kept}${why}${memory}${lost}` };
}

function storeLine(store) {
  if (!store) return null;
  const { is_connected: isThere, keys, error, silent_s: silent } = store;
  const known = `${count(keys)} key${keys === 1 ? "" : "s"}`;
  const ago = silent === null ? "" : `, read ${span(silent)} ago`;
  const words = isThere ? known : `${known}${ago}${error ? `: ${error}` : ""}`;
  return { name: "Keys", mood: isThere ? "good" : "warning", state: isThere ? "read" : "away", words };
}

// One line each for limits, use and keys: whether it is there, and what holds while it is not.
export function showLeanings(list, gateway) {
  const lines = [limitsLine(gateway.limits), ledgerLine(gateway.ledger), storeLine(gateway.store)];
  const make = () => element("li", "", element("b"), element("span", "chip"), element("span", "words"));
  keep(list, lines.filter(Boolean), ({ name }) => name, make, (item, { name, mood, state, words }) => {
    put(item.children[0], name);
    item.children[1].className = `chip ${mood}`;
    put(item.children[1], state);
    put(item.children[2], words);
  });
}

const COLUMNS = ["Time", "Model", "Endpoint", "Why", "Prompt", "Cached there", "Predicted", "Next best"];
const CLASSES = ["time", "", "outcome", "why", "number", "number", "number", "number"];
const SHOWN = 12;
const seconds = (value) => duration(value === null || value === undefined ? null : value * 1000);

// The parts of a prediction, or the bare score of a policy that predicts nothing.
function figures(candidate) {
  if (candidate.seconds === undefined) return candidate.score === undefined ? "" : `score ${candidate.score.toPrecision(3)}`;
  const { seconds: whole, prefill_s: prefill, before_s: before, rest_s: rest } = candidate;
  const parts = `${seconds(prefill)} prefill, ${seconds(before)} before it, ${seconds(rest)} the rest`;
  const there = `${count(candidate.cached_tokens)} tokens cached, ${count(candidate.in_flight)} in flight`;
  return `${seconds(whole)}: ${parts}; ${there}`;
}

function makeDecision(decision) {
  const { candidates, endpoint } = decision;
  const chosen = candidates.find((c) => c.endpoint === endpoint) ?? {};
  const others = candidates.filter((c) => c.endpoint !== endpoint);
  const isKnown = chosen.seconds !== undefined;
  const next = others.reduce((best, c) => (best === null || c.seconds < best ? c.seconds : best), null);
  const values = [
    clock(decision.at),
    decision.model,
    endpoint,
    "",
    decision.prompt_tokens ? count(decision.prompt_tokens) : DASH,
    isKnown ? count(chosen.cached_tokens) : DASH,
    isKnown ? seconds(chosen.seconds) : DASH,
    isKnown ? seconds(next) : DASH,
  ];
  const tr = element("tr");
  tr.append(...values.map((value, i) => put(cell(COLUMNS[i], CLASSES[i]), value)));
  for (const place of [0, 2]) delete tr.children[place].dataset.label;
  const why = tr.children[3];
  const words = [decision.policy, decision.basis?.replaceAll("_", " ")].filter(Boolean).join(", ");
  why.classList.remove("none");
  if (candidates.length) {
    const among = candidates.length > 1 ? `one of ${candidates.length}` : "the only one";
    const details = element("details", "", element("summary", "", `${words}: ${among}`));
    const rows = candidates.map((c) => element("li", c.endpoint === endpoint ? "chosen" : "", element("b", "", c.endpoint), ` ${figures(c)}`));
    details.append(element("ul", "", ...rows));
    why.append(details);
  } else {
    why.textContent = words;
  }
  tr.title = decision.request_id;
  return tr;
}

// Rows hold still while a mouse is over them or one is open: they can be read and copied.
export function showDecisions(table, decisions) {
  const body = table.tBodies[0];
  const isPointedAt = table.matches(":hover") && matchMedia("(hover: hover)").matches;
  if (body.children.length && (isPointedAt || body.querySelector("details[open]"))) return;
  const choices = decisions.filter((d) => d.candidates.length > 1); // where there is one endpoint nothing is decided
  const shown = (choices.length ? choices : decisions).slice(0, SHOWN);
  keep(body, shown, (d) => `${d.at} ${d.request_id} ${d.endpoint}`, makeDecision, () => {});
}
