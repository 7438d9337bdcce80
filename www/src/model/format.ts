/** A hyperparameter or loss with `digits` significant digits; powers of ten only where plain digits would be long. */
export function number(value: number | undefined, digits = 3): string {
  if (value === undefined || !Number.isFinite(value)) return "—";
  if (value === 0) return "0";
  const size = Math.abs(Number(value.toPrecision(digits)));
  if (size < 1e-3 || size >= 1e5) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e") as [string, string];
    return `${mantissa.replace("-", "−")}·10${superscript(Number(exponent))}`;
  }
  // Of numbers with more digits, those before the point are all shown.
  return (size >= 10 ** digits ? value.toFixed(0) : value.toPrecision(digits)).replace("-", "−");
}

/** The label of a round value on an axis. */
export function tick(value: number): string {
  return number(value, 3)
    .replace(/(\.\d*?)0+(?=\D|$)/, "$1")
    .replace(/^(−?)1\.?·/, "$1")
    .replace(/\.(?=\D|$)/, "");
}

function superscript(exponent: number): string {
  return String(exponent).replace(/[-0-9]/g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(c)]!));
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** Percentage points, signed. */
export function points(difference: number): string {
  const value = (100 * difference).toFixed(1);
  return `${value.startsWith("-") ? value.replace("-", "−") : `+${value}`} points`;
}

/** A time that may be short: "4.1 ms", "0.73 s", "12 s". */
export function moment(seconds: number): string {
  if (seconds >= 0.995) return duration(seconds);
  return seconds < 0.0995 ? `${(1000 * seconds).toPrecision(2)} ms` : `${seconds.toPrecision(2)} s`;
}

export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 90) return `${whole} s`;
  if (whole < 5400) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.round(minutes / (24 * 60))} days`;
}

export function bytes(count: number): string {
  if (count >= 2 ** 30) return `${trim(count / 2 ** 30)} GiB`;
  if (count >= 2 ** 20) return `${trim(count / 2 ** 20)} MiB`;
  return `${trim(count / 2 ** 10)} KiB`;
}

function trim(value: number): string {
  return value >= 10 ? String(Math.round(value)) : value.toFixed(1).replace(/\.0$/, "");
}

export function count(value: number): string {
  return value.toLocaleString("en");
}

/** A hyperparameter's name in the record as one reads it: `l2.conv1` is "L2 conv1". */
export function title(name: string): string {
  return capital(name.replace(/[._]/g, " "));
}

/** What was spent of a budget: "12.2 of 72 trainings". The first hypergradient may cost more than there is. */
export function ofBudget(spent: number, budget: number): string {
  const shown = spent.toFixed(1).replace(/\.0$/, "");
  return Number(shown) > budget ? `${shown} trainings on a budget of ${budget}` : `${shown} of ${several(budget, "training")}`;
}

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** "1 person", "2 people"; "1 step", "2 steps". */
export function several(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
