// Where the keyboard is after a control went away: on what came in its place.

/** The control that had the focus last, and the section it was in. */
let last: Element | null = null;
let home: Element | null = null;
document.addEventListener("focusin", ({ target }) => {
  last = target as Element;
  home = last.closest("section");
});

/** Whether the control that had the focus is gone, or can no longer have it. */
function lost(): boolean {
  const nowhere = document.activeElement === null || document.activeElement === document.body;
  return nowhere && last !== null && (!last.isConnected || last.matches(":disabled"));
}

/** What the run bar says, while it has the focus in the place of a control that is not there yet. */
let standIn: HTMLElement | null = null;

/**
 * Gives a lost focus to the heading of the card it was in; in the run bar to its main control, or to what the bar says
 * until that control can have it.
 */
export function keepFocus() {
  const waiting = standIn !== null && standIn === document.activeElement;
  if (!waiting && !lost()) return;
  const bar = document.querySelector("section.bar");
  const heading = !waiting && home?.isConnected && home !== bar ? home.querySelector<HTMLElement>("h2, h3") : null;
  if (heading) {
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
    return;
  }
  const control = bar?.querySelector<HTMLElement>("[data-main]:enabled") ?? null;
  standIn = control ? null : (bar?.querySelector<HTMLElement>(".status") ?? null);
  (control ?? standIn)?.focus({ preventScroll: true });
}

/** Brings the reader to the result, unless they are busy elsewhere on the page. */
export function showResult() {
  const active = document.activeElement;
  if (active !== null && active !== document.body && !active.closest("section.bar")) return;
  const heading = document.getElementById("result");
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  heading?.focus({ preventScroll: true });
  heading?.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
}
