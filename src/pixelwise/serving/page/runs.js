// The runs in a folder: each one's report, and several compared; the service makes the pages.
import { $, alertOf, cell } from "./page.js";
import { runs } from "./service.js";
import { word } from "./words.js";

export class RunsView {
  constructor() {
    this.chosen = new Set();
    this.known = [];
    addEventListener("hashchange", () => this.open());
    $("runs-open").addEventListener("click", () => window.open(address([...this.chosen]), "_blank", "noopener"));
    this.open();
  }

  show() {}

  said() { this.list(); }

  async open() {
    if (location.hash !== "#runs") return;
    try {
      this.known = await runs();
    } catch (error) {
      alertOf(error);
    }
    this.list();
  }

  list() {
    const [head, body] = [$("runs-table").tHead.rows[0], $("runs-table").tBodies[0]];
    $("runs-none").hidden = this.known.length > 0;
    head.replaceChildren();
    body.replaceChildren();
    const titles = ["choose", "run", "viewNet", "data", "steps", "meanIu", "pictures"];
    titles.forEach((key, i) => cell(head, word(key), "th", i === 4 || i === 5));
    for (const run of this.known) {
      const row = body.insertRow();
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = this.chosen.has(run.name);
      box.setAttribute("aria-label", `${word("choose")}: ${run.name}`);
      box.addEventListener("change", () => {
        if (box.checked) this.chosen.add(run.name);
        else this.chosen.delete(run.name);
        $("runs-open").disabled = this.chosen.size < 2;
      });
      cell(row, box);
      const link = document.createElement("a");
      link.href = address([run.name]);
      link.textContent = run.name;
      const title = cell(row, link, "th");
      if (run.training) title.append(` (${word("training")})`);
      for (const value of [run.net, run.data]) cell(row, value ?? "");
      cell(row, run.steps?.toLocaleString() ?? "", "td", true);
      const scored = typeof run.mean_iu === "number";
      cell(row, scored ? `${(100 * run.mean_iu).toFixed(1)} %` : "", "td", true);
      const worst = document.createElement("a");
      worst.href = `/v1/runs/pictures?${new URLSearchParams({ name: run.name })}`;
      worst.textContent = word("worst");
      worst.setAttribute("aria-label", `${word("worst")}: ${run.name}`);
      cell(row, scored ? worst : "");
    }
    $("runs-open").disabled = this.chosen.size < 2;
  }
}

function address(names) {
  return `/v1/runs/page?${new URLSearchParams(names.map((name) => ["name", name]))}`;
}
