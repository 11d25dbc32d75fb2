/** What a page shows while it has nothing yet, has nothing at all, or can't say. */
import { Component, type ReactNode } from "react";
import { CutError } from "../api/client";
import { Button } from "./controls";

export function Loading({ what }: { what: string }) {
  return (
    <div className="state" role="status" aria-busy="true">
      <span className="spinner" aria-hidden="true" />
      Loading {what}…
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="state">
      <h2>{title}</h2>
      {children && <div className="muted">{children}</div>}
    </div>
  );
}

export function Failure({ error, retry }: { error: unknown; retry?: () => unknown }) {
  const cut = error instanceof CutError;
  return (
    <div className="state" role="alert">
      <h2>{cut ? "The connection was cut" : "That did not work"}</h2>
      <p className="muted">{cut ? "The server can’t be reached now." : message(error)}</p>
      {retry && <Button onPress={() => void retry()}>Try again</Button>}
    </div>
  );
}

export function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The state of a query that has no data to show yet; null once it has. */
export function pending(
  query: { data: unknown; error: unknown; refetch: () => unknown },
  what: string,
): ReactNode {
  if (query.data !== undefined) return null;
  return query.error ? <Failure error={query.error} retry={query.refetch} /> : <Loading what={what} />;
}

/** Keeps a page that breaks from taking the frame with it. */
export class Boundary extends Component<{ children: ReactNode }, { error: unknown }> {
  override state = { error: null as unknown };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    if (this.state.error === null) return this.props.children;
    return <Failure error={this.state.error} retry={() => this.setState({ error: null })} />;
  }
}
