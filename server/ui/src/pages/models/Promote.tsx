/** Moving traffic to a version: with the gate's leave, or with a reason that is kept. */
import { useState } from "react";
import { Button, Dialog, Field } from "../../parts/controls";
import { message } from "../../parts/states";
import type { Alias, Version } from "./api";
import { useMove } from "./move";

export function Promote({ version, aliases }: { version: Version; aliases: Alias[] }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <Button kind="primary" onPress={() => setOpen(true)}>
        Promote…
      </Button>
      {open && <Asking version={version} aliases={aliases} onClose={() => setOpen(false)} />}
    </>
  );
}

function Asking({ version, aliases, onClose }: { version: Version; aliases: Alias[]; onClose: () => void }) {
  const [alias, setAlias] = useState("production");
  const [reason, setReason] = useState("");
  const move = useMove(onClose);
  const incumbent = aliases.find((each) => each.id === alias)?.card;
  const passed = version.verdict?.passed && version.verdict.incumbent === incumbent;
  return (
    <Dialog title={`Promote ${version.id}`} onClose={onClose}>
      <form
        className="column"
        onSubmit={(event) => {
          event.preventDefault();
          move.mutate({ alias, model: version.id, force: reason || null });
        }}
      >
        <Field label="The name that traffic uses" value={alias} onChange={setAlias} />
        <p>{incumbent ? `${incumbent} answers as ${alias} now.` : `Nobody answers as ${alias || "…"} yet.`}</p>
        {!passed && (
          <>
            <p className="muted">{incumbent ? `The gate did not pass it beside ${incumbent}.` : "A successor needs the gate’s leave."} With a reason it is promoted all the same; the reason is kept.</p>
            <Field label="Reason" value={reason} onChange={setReason} />
          </>
        )}
        {move.error && (
          <p role="alert" className="complaint lines words">
            {message(move.error)}
          </p>
        )}
        <div className="row">
          <Button type="submit" kind="primary" isDisabled={move.isPending || !alias}>
            {move.isPending ? "Moving traffic…" : "Promote"}
          </Button>
          <Button onPress={onClose}>Leave it</Button>
        </div>
      </form>
    </Dialog>
  );
}
