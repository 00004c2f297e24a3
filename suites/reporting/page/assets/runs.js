const ROWS_A_PAGE = 100;

class RunTable {
  constructor(runs, open) {
    this.runs = runs;
    this.open = open;
    this.sort = { key: "finished", descending: true };
    this.page = 0;
    this.columns = {};
    for (const { key } of COLUMNS) {
      this.columns[key] = Array.from({ length: runs.count }, (_, i) => runs.value(i, key));
    }
    this.order = Array.from({ length: runs.count }, (_, index) => index);
    this.shown = this.order;
    this.choices = CHOICES.map(([key, label]) => this.choice(key, label)).filter(Boolean);
    this.header();
    byId("terms").addEventListener("input", () => this.filter());
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    byId("pages").addEventListener("click", (event) => this.turn(event.target.dataset.go));
    document.querySelector("#run-table tbody").addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (row && !String(getSelection())) this.open(Number(row.dataset.index));
    });
    this.reorder();
    this.filter();
  }

  choice(key, label) {
    const values = [...new Set(this.columns[key])].filter((v) => v !== undefined && v !== "");
    if (values.length < 2) return null;
    const select = element("select", "", { id: `choose-${key}` });
    select.append(new Option("all", ""));
    for (const value of values.map(String).sort()) select.append(new Option(value, value));
    const field = element("label", `${label} `);
    field.append(select);
    byId("filters").append(field);
    select.addEventListener("change", () => this.filter());
    return { key, select };
  }

  header() {
    const row = document.querySelector("#run-table thead tr");
    for (const { key, label, number } of COLUMNS) {
      const cell = element("th", "", { scope: "col", "data-key": key });
      if (number) cell.className = "number";
      const button = element("button", label, { type: "button" });
      button.addEventListener("click", () => {
        const descending = this.sort.key === key ? !this.sort.descending : Boolean(number);
        this.sort = { key, descending };
        this.reorder();
        this.filter();
      });
      cell.append(button);
      row.append(cell);
    }
  }

  reorder() {
    const values = this.columns[this.sort.key];
    const sign = this.sort.descending ? -1 : 1;
    const texts = new Intl.Collator("en", { numeric: true });
    const { number } = COLUMNS.find(({ key }) => key === this.sort.key);
    const isThere = (value) => (number ? typeof value === "number" : (value ?? "") !== "");
    this.order.sort((a, b) => {
      const [x, y] = [values[a], values[b]];
      // What is missing, or no number among numbers, stays at the end in both directions.
      if (!isThere(x) || !isThere(y)) return isThere(y) - isThere(x) || a - b;
      const found = number ? x - y : texts.compare(x, y);
      return found ? sign * found : a - b;
    });
    for (const cell of document.querySelectorAll("#run-table th")) {
      const direction = this.sort.descending ? "descending" : "ascending";
      if (cell.dataset.key === this.sort.key) cell.setAttribute("aria-sort", direction);
      else cell.removeAttribute("aria-sort");
    }
  }

  // Everything a search looks into, once, in lower case.
  texts() {
    if (!this.haystack) {
      const fields = [...COLUMNS.map(({ key }) => key), ...SEARCHED];
      this.haystack = this.columns.run_id.map((_, index) => {
        const values = fields.map((field) => this.runs.value(index, field) ?? "");
        if (this.runs.value(index, "synthetic")) values.push("synthetic");
        if (this.runs.value(index, "shipped")) values.push("shipped");
        return values.join("\n").toLowerCase();
      });
    }
    return this.haystack;
  }

  filter() {
    const terms = byId("terms").value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = terms.filter((term) => !term.startsWith("-"));
    const unwanted = terms.filter((term) => /^-./.test(term)).map((term) => term.slice(1));
    const chosen = this.choices.filter(({ select }) => select.value);
    const texts = terms.length ? this.texts() : null;
    this.shown = this.order.filter((index) => {
      return (
        chosen.every(({ key, select }) => String(this.columns[key][index]) === select.value) &&
        wanted.every((term) => texts[index].includes(term)) &&
        !unwanted.some((term) => texts[index].includes(term))
      );
    });
    this.page = 0;
    this.draw();
  }

  turn(where) {
    const last = Math.max(0, Math.ceil(this.shown.length / ROWS_A_PAGE) - 1);
    const pages = { first: 0, previous: this.page - 1, next: this.page + 1, last };
    if (!(where in pages)) return;
    this.page = Math.min(Math.max(pages[where], 0), last);
    this.draw();
  }

  draw() {
    const start = this.page * ROWS_A_PAGE;
    const rows = this.shown.slice(start, start + ROWS_A_PAGE).map((index) => this.row(index));
    document.querySelector("#run-table tbody").replaceChildren(...rows);
    const [found, all] = [this.shown.length, this.runs.count].map((n) => n.toLocaleString("en"));
    byId("count").textContent = found === all ? `${all} runs` : `${found} of ${all} runs`;
    byId("pages").hidden = this.shown.length <= ROWS_A_PAGE;
    byId("place").textContent =
      `${(start + 1).toLocaleString("en")}–${(start + rows.length).toLocaleString("en")} of ${found}`;
    const isLast = start + ROWS_A_PAGE >= this.shown.length;
    for (const button of byId("pages").querySelectorAll("button")) {
      const back = ["first", "previous"].includes(button.dataset.go);
      button.disabled = back ? this.page === 0 : isLast;
    }
  }

  row(index) {
    const row = element("tr", "", { "data-index": index });
    for (const { key, number, show } of COLUMNS) {
      const value = this.columns[key][index];
      let text = show ? show(value) : String(value ?? "–");
      const cell = element("td");
      if (key === "run_id") {
        if (this.runs.value(index, "shipped")) text += " †";
        cell.append(element("button", text, { type: "button", class: "open", "aria-haspopup": "dialog" }));
      } else {
        if (key === "accuracy" && text !== "–" && this.runs.value(index, "synthetic")) text += " §";
        cell.textContent = text;
      }
      if (number) cell.className = "number";
      if (key === "status") cell.className = value === "ok" ? "ok" : "failed";
      row.append(cell);
    }
    return row;
  }
}
