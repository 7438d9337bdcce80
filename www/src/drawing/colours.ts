/** The page's colours as a canvas needs them: resolved, for the theme in force at `element`. */
export function colours<Name extends string>(element: Element, names: Name[]): Record<Name, string> {
  const probe = document.createElement("span");
  element.parentElement!.append(probe);
  const resolved = names.map((name): [Name, string] => {
    probe.style.color = `var(--${name})`;
    return [name, getComputedStyle(probe).color];
  });
  probe.remove();
  return Object.fromEntries(resolved) as Record<Name, string>;
}

/** Calls `changed` whenever the colours in force may have changed; returns what ends that. */
export function watchTheme(changed: () => void): () => void {
  const queries = ["(prefers-color-scheme: dark)", "print"].map((query) => matchMedia(query));
  const chosen = new MutationObserver(changed);
  for (const query of queries) query.addEventListener("change", changed);
  chosen.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  return () => {
    for (const query of queries) query.removeEventListener("change", changed);
    chosen.disconnect();
  };
}
