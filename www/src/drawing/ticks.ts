/** 1, 2, 5 in each decade, over many only powers of ten, or every so many of them; plain round steps over a short range. */
export function logTicks(low: number, high: number): number[] {
  const decades = Math.log10(high / low);
  if (decades < 0.7) return linearTicks(low, high);
  const factors = decades < 2.5 ? [1, 2, 5] : [1];
  const all: number[] = [];
  const apart = Math.ceil(decades / 10);
  for (let power = Math.floor(Math.log10(low) / apart) * apart; power <= Math.log10(high); power += apart)
    all.push(...factors.map((factor) => factor * 10 ** power).filter((value) => value >= low && value <= high));
  return all;
}

/** About `many` round values. */
export function linearTicks(low: number, high: number, many = 5): number[] {
  const rough = (high - low) / many;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough)!;
  const all: number[] = [];
  for (let at = Math.ceil(low / step); at * step <= high; at++) all.push(Number((at * step).toPrecision(6)));
  return all;
}
