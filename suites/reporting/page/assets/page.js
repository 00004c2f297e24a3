const THEMES = { "": "as the system", light: "light", dark: "dark" };

function chooseTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  byId("theme").textContent = `Colours: ${THEMES[theme]}`;
}

function startTheme() {
  let theme = "";
  // A page from a file may have no storage.
  try {
    theme = localStorage.getItem("theme") || "";
  } catch {}
  chooseTheme(theme in THEMES ? theme : "");
  byId("theme").hidden = false;
  byId("theme").addEventListener("click", () => {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "") + 1) % names.length];
    chooseTheme(next);
    try {
      localStorage.setItem("theme", next);
    } catch {}
  });
}

async function startFigures() {
  for (const image of document.querySelectorAll("img[data-figure]")) {
    const svg = await unpack(byId(image.dataset.figure));
    image.src = `data:image/svg+xml,${encodeURIComponent(svg)}`;
  }
}

function startPrinting() {
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("main details:not([open])")];
    for (const details of closed) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of closed) details.open = false;
  });
}

function startDialog(runs) {
  const dialog = byId("run");
  let opener = null;
  const show = (index) => {
    const words = ["suite", "setting", "layer", "mode"].map((field) => runs.value(index, field));
    byId("run-title").textContent =
      `${words.filter(Boolean).join(" ")} seed ${runs.value(index, "seed")} (${runs.value(index, "run_id")})`;
    byId("run-body").replaceChildren(...detail(runs, index));
    if (!dialog.open) {
      opener = document.activeElement;
      dialog.showModal();
    }
    dialog.scrollTop = 0;
    byId("close").focus();
  };
  const fromAddress = () => {
    const match = /^#run-(.+)$/.exec(decodeURIComponent(location.hash));
    const index = match ? runs.keys.indexOf(match[1]) : -1;
    if (index >= 0) show(index);
    else if (dialog.open) dialog.close();
  };
  byId("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => {
    if (location.hash.startsWith("#run-")) history.replaceState(null, "", "#runs");
    if (opener && opener.isConnected) opener.focus({ preventScroll: true });
  });
  addEventListener("hashchange", fromAddress);
  fromAddress();
  return (index) => {
    history.pushState(null, "", `#run-${encodeURIComponent(runs.keys[index])}`);
    show(index);
  };
}

async function start() {
  startTheme();
  startPrinting();
  const runs = new Runs(JSON.parse(await unpack(byId("data-runs"))));
  const open = startDialog(runs);
  new RunTable(runs, open);
  await startOverview();
  await startFigures();
  document.documentElement.dataset.ready = "";
}

start().catch((error) => {
  byId("count").textContent = `This browser cannot unpack the runs (${error.message}); a newer one can.`;
  throw error;
});
