"use strict";
// Figures name their colours by CSS variable, "var(--accent)", so one stylesheet serves light and dark.
const figures = JSON.parse(document.getElementById("figures").textContent);
const styles = getComputedStyle(document.documentElement);
function resolve(value) {
  if (Array.isArray(value)) return value.map(resolve);
  const variable = typeof value === "string" && /^var\((--[a-z]+)\)$/.exec(value);
  return variable ? styles.getPropertyValue(variable[1]).trim() : value;
}
// Only what a key calls a colour is resolved: a label may spell "var(--accent)" and stays text.
function coloured(value) {
  if (Array.isArray(value)) return value.map(coloured);
  if (!value || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => {
    const plain = typeof inner !== "object" || Array.isArray(inner);
    return [key, plain && /color(scale)?$/.test(key) ? resolve(inner) : coloured(inner)];
  }));
}
// In a folded section a figure has no width: it is drawn when the section is unfolded.
function draw() {
  for (const [id, figure] of Object.entries(figures)) {
    if (document.getElementById(id).closest("details:not([open])")) continue;
    Plotly.react(id, coloured(figure.data), coloured(figure.layout), { displayModeBar: false, responsive: true });
  }
}
draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
document.addEventListener("toggle", (event) => { if (event.target.open) draw(); }, true);
addEventListener("beforeprint", () => {
  for (const section of document.querySelectorAll("details.section")) section.open = true;
  draw();
});
