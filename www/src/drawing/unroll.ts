import { tick } from "../model/format.ts";
import { where, type Unrolled } from "../model/unroll.ts";
import { label, rule, SvgPen, type Pen } from "./pen.ts";
import { linearTicks } from "./ticks.ts";

export type Paint = Record<"ink" | "muted" | "line" | "surface" | "leader" | "follower", string>;

const left = 64;
const right = 16;
/** The three parts: from where to where, and what they show. */
const parts = {
  there: [34, 116],
  back: [158, 258],
  plan: [300, 420],
} as const;
export const HEIGHT = 456;
const family = '"Instrument Sans", system-ui, sans-serif';

/** The step under a place across the picture; none beside it. */
export function stepAt(x: number, width: number, steps: number): number | null {
  const at = Math.floor(((x - left) / (width - left - right)) * steps);
  return at >= 0 && at < steps ? at : null;
}

/** The training there, the way back under it, and the plan of its states beneath, over the same steps. */
export function draw(pen: Pen, { plan, done, losses, slopes, loss }: Unrolled, width: number, paint: Paint) {
  if (!plan) return;
  const { steps, actions, turns, kept } = plan;
  const x = (step: number) => left + ((width - left - right) * step) / steps;
  const now = where(plan, done);
  pen.font = `13px ${family}`;
  for (const [name, [top, bottom]] of Object.entries(parts)) {
    label(pen, { there: "Training loss, step by step →", back: "← dE/dη of each step, on the way back", plan: "Plan: time ↓, kept states as bars" }[name]!, left, top - 10, paint.muted, "left");
    for (const mark of linearTicks(0, steps, 8).filter(Number.isInteger)) {
      rule(pen, [x(mark), top], [x(mark), bottom], paint.line);
      if (name === "plan") label(pen, tick(mark), x(mark), bottom + 18, paint.muted, "center");
    }
  }
  label(pen, "training step t", (left + width - right) / 2, HEIGHT - 4, paint.muted, "center");

  // There: the losses once they are known, and until then how far the training is.
  const [top, bottom] = parts.there;
  const known = losses.filter(Number.isFinite);
  const most = Math.max(...known, 0) || 1;
  const height = (value: number) => bottom - ((bottom - top) * value) / most;
  label(pen, tick(most), left - 8, top + 4, paint.muted, "right");
  label(pen, "0", left - 8, bottom + 4, paint.muted, "right");
  rule(pen, [left, bottom], [width - right, bottom], paint.line);
  if (losses.length === 0) {
    pen.fillStyle = paint.follower;
    pen.globalAlpha = 0.35;
    pen.fillRect(left, bottom - 12, x(loss === null ? now.step : steps) - left, 12);
    pen.globalAlpha = 1;
  } else line(pen, losses.map((value, at) => [x(at + 0.5), height(value)]), paint.follower);

  // Back: a bar a step, above the line where a larger rate would raise the outer loss.
  const [above, below] = parts.back;
  const middle = (above + below) / 2;
  const all = slopes.flatMap((slope) => (slope !== null && Number.isFinite(slope) ? [Math.abs(slope)] : []));
  const largest = Math.max(...all, 0) || 1;
  rule(pen, [left, middle], [width - right, middle], paint.muted);
  label(pen, tick(largest), left - 8, above + 4, paint.muted, "right");
  label(pen, `−${tick(largest)}`, left - 8, below + 4, paint.muted, "right");
  pen.fillStyle = paint.leader;
  slopes.forEach((slope, step) => {
    if (slope === null || !Number.isFinite(slope)) return;
    const size = ((below - above) / 2) * (slope / largest);
    pen.fillRect(x(step), Math.min(middle, middle - size), Math.max(1, x(step + 1) - x(step) - 0.5), Math.max(1, Math.abs(size)));
  });

  // The plan.
  const [first, last] = parts.plan;
  const y = (action: number) => first + ((last - first) * action) / actions;
  label(pen, "start", left - 8, first + 8, paint.muted, "right");
  label(pen, "end", left - 8, last + 2, paint.muted, "right");
  pen.fillStyle = paint.follower;
  pen.globalAlpha = 0.3;
  const thick = Math.max(1, Math.min(5, (x(1) - x(0)) * 0.7));
  for (const [step, from, to] of kept) pen.fillRect(x(step) - thick / 2, y(from), thick, y(to) - y(from));
  pen.globalAlpha = 0.35;
  line(pen, turns.map(([action, step]) => [x(step), y(action)]), paint.ink);
  pen.globalAlpha = 1;
  const ran = turns.filter(([action]) => action <= done).map(([action, step]): [number, number] => [x(step), y(action)]);
  line(pen, [...ran, [x(now.step), y(done)]], paint.leader);
  pen.beginPath();
  pen.arc(x(now.step), y(done), 4, 0, 2 * Math.PI);
  pen.fillStyle = now.back ? paint.leader : paint.follower;
  pen.fill();
}

function line(pen: Pen, points: [number, number][], stroke: string) {
  pen.beginPath();
  for (const [x, y] of points) pen.lineTo(x, y);
  pen.strokeStyle = stroke;
  pen.lineWidth = 2;
  pen.stroke();
}

/** The picture by itself. */
export function unrollSvg(unroll: Unrolled, paint: Paint): string {
  const pen = new SvgPen();
  draw(pen, unroll, 720, paint);
  return pen.svg(720, HEIGHT, paint.surface);
}
