import { label, SvgPen } from "./pen.ts";

type Paint = Record<"ink" | "muted" | "surface" | "sunken" | "leader-cell" | "follower-cell", string>;

/** A confusion matrix as a picture of its own: rows are what was done, columns what was named. */
export function confusionSvg(title: string, classes: string[], windows: number[], paint: Paint): string {
  const [side, gap] = [54, 2];
  const [left, top] = [190, 84];
  const width = left + classes.length * (side + gap) + 20;
  const height = top + classes.length * (side + gap) + 20;
  const pen = new SvgPen();
  const family = '"Instrument Sans", system-ui, sans-serif';
  pen.font = `600 17px ${family}`;
  label(pen, title, 20, 30, paint.ink, "left");
  pen.font = `13px ${family}`;
  label(pen, "Rows: what the person did. Columns: what the network named.", 20, 52, paint.muted, "left");
  classes.forEach((name, row) => {
    const counts = windows.slice(row * classes.length, (row + 1) * classes.length);
    const total = counts.reduce((sum, one) => sum + one, 0);
    const y = top + row * (side + gap);
    label(pen, `${row + 1} ${name}`, left - 12, y + side / 2 + 4, paint.ink, "right");
    label(pen, String(row + 1), left + row * (side + gap) + side / 2, top - 8, paint.muted, "center");
    counts.forEach((count, column) => {
      const x = left + column * (side + gap);
      pen.fillStyle = paint.sunken;
      pen.fillRect(x, y, side, side);
      pen.globalAlpha = total > 0 ? count / total : 0;
      pen.fillStyle = paint[row === column ? "leader-cell" : "follower-cell"];
      pen.fillRect(x, y, side, side);
      pen.globalAlpha = 1;
      label(pen, String(count), x + side / 2, y + side / 2 + 4, paint.ink, "center");
    });
  });
  return pen.svg(width, height, paint.surface);
}
