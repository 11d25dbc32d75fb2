import { type FormEvent, useState } from "react";
import { readKey } from "../api/key";
import { Button, Field } from "../parts/controls";

/** Asks for an API key; the server says whether it is one. */
export function SignIn({ onKey }: { onKey: (key: string) => Promise<unknown> }) {
  const [key, setKey] = useState("");
  const [asking, setAsking] = useState(false);
  const refused = readKey() !== "" && !asking;

  async function submit(event: FormEvent) {
    event.preventDefault();
    setAsking(true);
    await onKey(key.trim());
    setAsking(false);
  }

  return (
    <main className="sign-in">
      <form className="card" onSubmit={submit}>
        <h1>AgentLM</h1>
        <p className="muted">This server answers to API keys. Yours stays in this tab and is forgotten when you close it.</p>
        <Field label="API key" type="password" value={key} onChange={setKey} autoFocus autoComplete="off" />
        {refused && (
          <p role="alert" className="complaint">
            The server does not know this key, or it was revoked.
          </p>
        )}
        <Button type="submit" kind="primary" isDisabled={asking || !key.trim()}>
          {asking ? "Asking…" : "Sign in"}
        </Button>
        <p className="muted small">
          An administrator makes keys with <code>agentlm keys create NAME</code>.
        </p>
      </form>
    </main>
  );
}
