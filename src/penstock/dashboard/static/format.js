// Figures as people read them: three digits at most, a unit, and a dash for what is not known.

export const DASH = "–";

export function count(value) {
  if (value === null || value === undefined) return DASH;
  if (value < 10000) return Math.round(value).toLocaleString("en");
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= size) return `${(value / size).toPrecision(3)}${letter}`;
  }
  return DASH;
}

export function rate(value) {
  if (value === null || value === undefined) return DASH;
  if (value > 0 && value < 0.05) return "<0.1";
  return value > 0 && value < 10 ? value.toFixed(1) : count(value);
}

export function duration(ms) {
  if (ms === null || ms === undefined) return DASH;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 100000 ? `${(ms / 1000).toPrecision(3)} s` : `${Math.round(ms / 60000)} min`;
}

// For an axis that ends at `top`: no more digits than its steps need.
export function plain(value) {
  return value < 10 && value % 1 ? value.toFixed(1) : count(value);
}

export function durationAxis(ms, topMs) {
  if (!ms) return "0";
  return topMs < 1000 ? `${ms % 1 ? ms.toFixed(1) : ms} ms` : `${ms / 1000} s`;
}

export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.floor(whole / 60)} min`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86400)} d`;
}

export function clock(unixS, withSeconds = true) {
  const at = new Date(unixS * 1000);
  const two = (n) => String(n).padStart(2, "0");
  const minutes = `${two(at.getHours())}:${two(at.getMinutes())}`;
  return withSeconds ? `${minutes}:${two(at.getSeconds())}` : minutes;
}
