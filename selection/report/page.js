"use strict";
// Figures name their colours by CSS variable ("\u0001accent"), so one stylesheet serves light and dark.
const figures = JSON.parse(document.getElementById("figures").textContent);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
function painted(value) {
  if (typeof value === "string") return value.startsWith("\u0001") ? colour(value.slice(1)) : value;
  if (Array.isArray(value)) return value.map(painted);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, painted(inner)]));
  }
  return value;
}
function draw() {
  for (const [id, figure] of Object.entries(figures)) {
    Plotly.react(id, painted(figure.data), painted(figure.layout), { displayModeBar: false, responsive: true });
  }
}
draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
