const SVG = "http://www.w3.org/2000/svg";

function drawn(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

function ticks(low, high) {
  const rough = (high - low) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step / 1e6; tick += step) {
    found.push(Number(tick.toPrecision(12)));
  }
  return found;
}

// One curve over epochs, with the stages' ends; step: epochs between two points.
function chart(name, values, stages, step) {
  const [width, height, left, right, top, bottom] = [640, 200, 52, 12, 18, 30];
  const known = values.filter(Number.isFinite);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const epochs = Math.max(stages.reduce((sum, { count }) => sum + count, 0), values.length);
  const first = epochs - (values.length - 1) * step;
  const x = (epoch) => left + ((epoch - 1) / Math.max(epochs - 1, 1)) * (width - left - right);
  const y = (value) => height - bottom - ((value - low) / (high - low || 1)) * (height - top - bottom);
  const said = `${name}: from ${known[0]} to ${known.at(-1)} over ${epochs} epochs, lowest ${low}, highest ${high}`;
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": said });
  for (const tick of ticks(low, high)) {
    svg.append(drawn("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), class: "grid" }));
    svg.append(drawn("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, String(tick)));
  }
  for (const tick of ticks(1, epochs).filter(Number.isInteger)) {
    svg.append(drawn("text", { x: x(tick), y: height - 14, "text-anchor": "middle" }, String(tick)));
  }
  svg.append(drawn("text", { x: width - right, y: height - 2, "text-anchor": "end" }, "epoch"));
  let end = 0;
  for (const [index, stage] of stages.entries()) {
    if (stages.length > 1) {
      svg.append(drawn("text", { x: x(end + 1) + 3, y: 11 }, stage.name));
      if (index) svg.append(drawn("line", { x1: x(end + 0.5), x2: x(end + 0.5), y1: top, y2: height - bottom, class: "stage" }));
    }
    end += stage.count;
  }
  let path = "";
  for (const [index, value] of values.entries()) {
    if (!Number.isFinite(value)) continue;
    const begins = !path || !Number.isFinite(values[index - 1]);
    path += `${begins ? "M" : "L"}${x(first + index * step).toFixed(1)} ${y(value).toFixed(1)}`;
  }
  svg.append(drawn("path", { d: path, class: "curve" }));
  return svg;
}

function list(pairs) {
  const made = element("dl");
  for (const [name, value] of pairs) {
    if (value === undefined || value === null || value === "") continue;
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    made.append(element("dt", name), element("dd", text));
  }
  return made;
}

function folded(title, text, open = false) {
  const made = element("details", "", open ? { open: "" } : {});
  made.append(element("summary", title), element("pre", text, { tabindex: "0" }));
  return made;
}

function versions(found) {
  return found && Object.entries(found).map(([name, version]) => `${name} ${version}`).join(", ");
}

function detail(runs, index) {
  const row = runs.whole(index, "rows");
  const spec = runs.whole(index, "specs");
  const mib = (bytes) => (typeof bytes === "number" ? `${fixed(bytes, 1, 1 / MIB)} MiB` : undefined);
  const synthetic = row.synthetic ? " — on synthetic clips" : "";
  const parts = [
    list([
      ["Status", row.status + (row.status === "ok" ? "" : `: ${row.reason ?? "no reason given"}`)],
      ["Clip accuracy", typeof row.accuracy === "number" ? `${fixed(row.accuracy, 2, 100)}%${synthetic}` : undefined],
      ["Video accuracy", typeof row.video_accuracy === "number" ? `${fixed(row.video_accuracy, 2, 100)}%${synthetic}` : undefined],
      ["Peak, measured", row.measured_peak_bytes && `${mib(row.measured_peak_bytes)} (${row.measured_by})`],
      ["Peak, predicted", mib(row.predicted_peak_bytes)],
      ["Training", typeof row.train_seconds === "number" ? `${fixed(row.train_seconds, 0)} s` : undefined],
    ]),
    element("h3", "Where it comes from"),
    list([
      ["Set", row.shipped ? "shipped with the repository" : "local"],
      ["Finished", row.finished],
      ["Commit", row.commit && row.commit + (row.dirty ? ", with changes" : "")],
      ["Device", row.device],
      ["Host", row.host],
      ["Type of numbers", row.dtype],
      ["Threads", row.threads],
      ["Versions", versions(row.versions)],
      ["Clips (SHA-256)", row.manifest],
    ]),
  ];
  const { curves, stages } = runs.curves(index);
  if (curves.length) parts.push(element("h3", "Curves"));
  for (const { name, values } of curves) {
    const figure = element("figure");
    figure.append(element("figcaption", name.replaceAll("_", " ")));
    if (values.some(Number.isFinite)) figure.append(chart(name, values, stages, runs.data.step));
    else figure.append(element("p", "no finite value"));
    parts.push(figure);
  }
  if (curves.length && runs.data.step > 1) {
    parts.push(element("p", `Every ${runs.data.step}th epoch is on this page; all are in curves.csv.`, { class: "muted" }));
  }
  const log = runs.log(index);
  if (log.length) parts.push(folded("Log, last lines", log.join("\n"), true));
  parts.push(folded("Spec", JSON.stringify(spec, null, 1)), folded("Whole row", JSON.stringify(row, null, 1)));
  return parts;
}
