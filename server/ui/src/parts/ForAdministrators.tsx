import type { ReactNode } from "react";
import { useKey } from "../frame/session";
import { Empty } from "./states";

/** What only an administrator's key may ask for; to others it says so instead of asking in vain. */
export function ForAdministrators({ what, children }: { what: string; children: ReactNode }) {
  const key = useKey();
  if (key.admin) return children;
  return (
    <Empty title="For administrators">
      {what} can be seen with an administrator’s key only. Yours is {key.name}.
    </Empty>
  );
}
