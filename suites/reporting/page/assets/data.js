"use strict";

// What the page carries: gzip as base64, in script elements that no browser runs.
async function unpack(element) {
  const text = element.textContent;
  const bytes = Uint8Array.fromBase64
    ? Uint8Array.fromBase64(text)
    : Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

function byId(id) {
  return document.getElementById(id);
}

// Text is always set as text: names, reasons and logs may hold anything.
function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  if (text !== "") made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

class Runs {
  constructor(data) {
    this.data = data;
    this.count = data.count;
    this.keys = Array.from({ length: this.count }, (_, index) => {
      return `${this.value(index, "suite")}.${this.value(index, "run_id")}`;
    });
  }

  value(index, field) {
    return Runs.at(this.data, this.data.rows[field], index);
  }

  static at(data, places, index) {
    const place = places ? places[index] : -1;
    return place < 0 ? undefined : data.pool[place];
  }

  whole(index, part) {
    const found = {};
    for (const [field, places] of Object.entries(this.data[part])) {
      if (places[index] >= 0) found[field] = this.data.pool[places[index]];
    }
    return found;
  }

  // [{name, values}], [{name, count}]
  curves(index) {
    const [names, stages, ...lines] = this.data.curves[index].split("\n");
    if (!names) return { curves: [], stages: [] };
    return {
      curves: names.split(",").map((name, at) => ({
        name,
        values: lines[at].split(" ").map(Number),
      })),
      stages: stages.split(" ").filter(Boolean).map((text) => {
        const colon = text.lastIndexOf(":");
        return { name: text.slice(0, colon), count: Number(text.slice(colon + 1)) };
      }),
    };
  }

  log(index) {
    return this.data.logs[index] || [];
  }
}

const MIB = 2 ** 20;

function fixed(value, digits, factor = 1) {
  return typeof value === "number" ? (value * factor).toFixed(digits) : "–";
}

const COLUMNS = [
  { key: "run_id", label: "Run" },
  { key: "suite", label: "Suite" },
  { key: "setting", label: "Setting" },
  { key: "layer", label: "Layer" },
  { key: "mode", label: "Mode" },
  { key: "seed", label: "Seed", number: true },
  { key: "status", label: "Status" },
  { key: "accuracy", label: "Accuracy, %", number: true, show: (v) => fixed(v, 2, 100) },
  { key: "measured_peak_bytes", label: "Peak measured, MiB", number: true, show: (v) => fixed(v, 1, 1 / MIB) },
  { key: "predicted_peak_bytes", label: "Peak predicted, MiB", number: true, show: (v) => fixed(v, 1, 1 / MIB) },
  { key: "train_seconds", label: "Training, s", number: true, show: (v) => fixed(v, 0) },
  { key: "finished", label: "Finished" },
];
const CHOICES = [
  ["suite", "Suite"],
  ["setting", "Setting"],
  ["layer", "Layer"],
  ["mode", "Mode"],
  ["status", "Status"],
];
// What a search looks into besides the columns.
const SEARCHED = ["dataset", "profile", "model", "reason", "device", "host", "commit", "dtype"];
