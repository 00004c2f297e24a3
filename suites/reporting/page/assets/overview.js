// The charts that the page begins with: values on hover and focus, layers switched on and off.
const CHART = { width: 560, height: 300, left: 56, right: 14, top: 14, bottom: 44 };
const MARKERS = ["circle", "square", "diamond"];

function markerPath(kind, x, y) {
  const r = 5;
  if (kind === "square") return `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}Z`;
  if (kind === "diamond") return `M${x} ${y - r - 1}L${x + r + 1} ${y}L${x} ${y + r + 1}L${x - r - 1} ${y}Z`;
  return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
}

function overviewChart(chart, layers, tip) {
  const { width, height, left, right, top, bottom } = CHART;
  const points = chart.series.flatMap((series) => series.points);
  const xs = chart.places ? [0, chart.places.length - 1] : points.map(([x]) => x);
  const reach = Math.max(...xs) - Math.min(...xs) || 1;
  const [x0, x1] = [Math.min(...xs) - reach * 0.06, Math.max(...xs) + reach * 0.06];
  const y1 = Math.max(...points.map(([, y]) => y), 0) * 1.06 || 1;
  const x = (value) => left + ((value - x0) / (x1 - x0)) * (width - left - right);
  const y = (value) => height - bottom - (value / y1) * (height - top - bottom);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "group", "aria-label": chart.title });
  for (const tick of ticks(0, y1)) {
    svg.append(drawn("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), class: "grid" }));
    svg.append(drawn("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, tick.toLocaleString("en")));
  }
  const marks = chart.places ? chart.places.map((name, place) => [place, name]) : ticks(x0, x1).map((tick) => [tick, tick.toLocaleString("en")]);
  for (const [value, name] of marks) {
    svg.append(drawn("text", { x: x(value), y: height - bottom + 16, "text-anchor": "middle" }, name));
  }
  svg.append(drawn("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, chart.x));
  const middle = (top + height - bottom) / 2;
  svg.append(drawn("text", { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, chart.y));
  for (const series of chart.series) {
    const place = layers.indexOf(series.layer);
    const group = drawn("g", { "data-layer": series.layer, class: `series-${place % 6}${series.itsl ? " itsl" : ""}` });
    if (series.points.length > 1) {
      const path = series.points.map(([px, py], at) => `${at ? "L" : "M"}${x(px).toFixed(1)} ${y(py).toFixed(1)}`).join("");
      group.append(drawn("path", { d: path, class: "joined" }));
    }
    for (const [px, py, words] of series.points) {
      const said = `${tip.names[series.layer]} ${words}`;
      const mark = drawn("path", { d: markerPath(MARKERS[place % 3], x(px), y(py)), class: "mark", tabindex: "0", role: "img", "aria-label": said });
      for (const event of ["pointerenter", "focus"]) mark.addEventListener(event, () => tip.show(mark, said));
      for (const event of ["pointerleave", "blur"]) mark.addEventListener(event, () => tip.hide());
      group.append(mark);
    }
    svg.append(group);
  }
  return svg;
}

class Tip {
  constructor(names) {
    this.names = names;
    this.box = byId("tip");
    addEventListener("keydown", (event) => event.key === "Escape" && this.hide());
  }

  show(mark, words) {
    const at = mark.getBoundingClientRect();
    this.box.textContent = words;
    this.box.hidden = false;
    const { width, height } = this.box.getBoundingClientRect();
    const from = (at.left + at.right - width) / 2;
    const most = document.documentElement.clientWidth - width - 4;
    this.box.style.left = `${scrollX + Math.max(4, Math.min(from, most))}px`;
    this.box.style.top = `${scrollY + (at.top > height + 8 ? at.top - height - 8 : at.bottom + 8)}px`;
  }

  hide() {
    this.box.hidden = true;
  }
}

async function startOverview() {
  const { layers, charts } = JSON.parse(await unpack(byId("data-overview")));
  const names = Object.keys(layers);
  if (!charts.length) return;
  const tip = new Tip(layers);
  const shown = charts.map((chart) => {
    const part = element("article");
    part.append(element("h3", chart.title), overviewChart(chart, names, tip), element("p", chart.about, { class: "muted" }));
    return part;
  });
  byId("charts").append(...shown);
  for (const [place, layer] of names.entries()) {
    const label = element("label", "", { class: `series-${place % 6}` });
    const box = element("input", "", { type: "checkbox", checked: "", value: layer });
    const sign = drawn("svg", { viewBox: "0 0 14 14", class: "sign", "aria-hidden": "true" });
    sign.append(drawn("path", { d: markerPath(MARKERS[place % 3], 7, 7), class: "mark" }));
    label.append(box, sign, layers[layer]);
    byId("layers").append(label);
    box.addEventListener("change", () => {
      for (const group of document.querySelectorAll("#charts [data-layer]")) {
        if (group.dataset.layer === layer) group.classList.toggle("off", !box.checked);
      }
    });
  }
  byId("layers").hidden = names.length < 2;
}
