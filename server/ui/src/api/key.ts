/** The user's API key: it lives in this tab's session and nowhere else. */
const NAME = "agentlm-key";

export function readKey(): string {
  return sessionStorage.getItem(NAME) ?? "";
}

export function keepKey(key: string): void {
  sessionStorage.setItem(NAME, key);
}

export function forgetKey(): void {
  sessionStorage.removeItem(NAME);
}
