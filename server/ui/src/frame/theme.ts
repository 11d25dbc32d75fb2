/** Light or dark: the system's choice unless the user made one, which is remembered. */
export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const NAME = "agentlm-theme";

export function readTheme(): Theme {
  const kept = localStorage.getItem(NAME) as Theme | null;
  return kept && THEMES.includes(kept) ? kept : "system";
}

export function applyTheme(theme: Theme = readTheme()): void {
  localStorage.setItem(NAME, theme);
  document.documentElement.dataset.theme = theme;
}
