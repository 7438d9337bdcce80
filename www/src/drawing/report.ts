import { command, lossUnit } from "../model/settings.ts";
import { capital, number, percent, title } from "../model/format.ts";
import { paths } from "../model/paths.ts";
import { kept, lowest, type Run } from "../model/run.ts";
import { iterationsTable, type Table } from "../model/table.ts";
import { cost, gained, verdicts } from "../model/verdict.ts";
import { chartSvg, type Line, type Paint } from "./chart.ts";
import { confusionSvg } from "./confusion.ts";

/** Pictures lie on white, whatever the reader's theme. */
const paint: Paint & Parameters<typeof confusionSvg>[3] = {
  sunken: "#f5f7f9", "leader-cell": "#8794e0", "follower-cell": "#dba75f",
  ink: "#131f2a", muted: "#526170", line: "#d5dce3", surface: "#ffffff", leader: "#2f45c5", follower: "#9a5700", good: "#0b6e5f", bad: "#b02a20",
};

const style = `
:root { color-scheme: light dark; --line: light-dark(#d5d9e0, #3a4150) }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; background: light-dark(#fff, #14171d); color: light-dark(#1b2029, #e6e9ef) }
h1 { font-size: 1.6rem } h2 { font-size: 1.25rem; margin-top: 2.5rem } code { overflow-wrap: anywhere }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem }
th, td { padding: .3rem .9rem .3rem 0; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap }
.charts { display: flex; flex-wrap: wrap; gap: 1rem } .charts svg { background: #fff; border-radius: .5rem; max-width: 100%; height: auto }`;

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

function htmlTable({ columns, rows }: Table): string {
  const cells = (tag: string, row: Table["rows"][number]) =>
    row.map((cell) => `<${tag}>${escaped(typeof cell === "number" ? number(cell, 4) : (cell ?? "–"))}</${tag}>`).join("");
  return `<div class="wide"><table><tr>${cells("th", columns)}</tr>${rows.map((row) => `<tr>${cells("td", row)}</tr>`).join("\n")}</table></div>`;
}

/** A run that is over as one page that needs nothing else: what came of it, its charts, its tables. */
export function reportHtml(run: Run): string {
  const { done, data, outer, settings, engine, scores: { before, after } } = run;
  const unit = lossUnit(settings);
  const x = outer.map(({ iteration }) => iteration);
  const chart = (name: string, yLabel: string, lines: Line[], log = false) => chartSvg(name, x, lines, { xLabel: "outer iteration", yLabel, log }, paint);
  const losses: Line[] = [
    { name: "outer loss", values: outer.map(({ loss }) => loss ?? null), colour: "muted" },
    { name: "lowest so far", values: lowest(outer), colour: "leader", width: 2 },
  ];
  const classes = data.classes.map(({ name }) => name);
  const scores: Table["rows"] = [];
  if (before && after) {
    scores.push(["Accuracy", percent(before.accuracy), percent(after.accuracy)], ["Macro F1", percent(before.macroF1), percent(after.macroF1)]);
    scores.push([`Loss, ${unit}`, number(before.loss), number(after.loss)]);
    classes.forEach((name, at) => scores.push([`F1, ${name}`, percent(before.f1[at]!), percent(after.f1[at]!)]));
  }
  if (run.forecast) scores.push(["Error of the next sample", number(run.forecast.before), number(run.forecast.after)]);
  const best = kept(run)?.hyperparameters ?? [];
  best.forEach(({ name, value }, at) => scores.push([title(name), number(outer[0]?.hyperparameters[at]?.value), number(value)]));
  const said = [gained(run), ...verdicts(run), ...(done ? cost(run, done) : [])].filter((sentence) => sentence !== null);
  const drawn = [
    ...(before && after ? [confusionSvg("Start values", classes.map(capital), before.confusion, paint), confusionSvg("Tuned", classes.map(capital), after.confusion, paint)] : []),
    chart("Outer loss", `validation loss, ${unit}`, losses),
    ...paths(outer).map((path) => chart(path.title, path.unit, path.lines, path.log)),
  ];
  return [
    `<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Stackelberg: ${escaped(data.name)}</title><style>${style}</style></head><body>`,
    `<h1>A run on ${escaped(data.name)}</h1>`,
    ...said.map((sentence) => `<p>${escaped(sentence)}</p>`),
    `<p>The same run: <code>${escaped(command(settings, engine, data.source))}</code></p>`,
    `<div class="charts">${drawn.join("")}</div>`,
    ...(scores.length > 0 ? [`<h2>Scores and values</h2>`, htmlTable({ columns: ["", "Start", "Tuned"], rows: scores })] : []),
    `<h2>Outer iterations</h2>`,
    htmlTable(iterationsTable(outer, unit)),
    "</body></html>\n",
  ].join("\n");
}
