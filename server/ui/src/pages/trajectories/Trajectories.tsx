/** The log: a live list, and beside it one trajectory or two. */
import { useState } from "react";
import { useAddress } from "./address";
import { Detail } from "./Detail";
import { Filters } from "./Filters";
import { List } from "./List";
import { Selected } from "./Selected";
import "./trajectories.css";

export default function Trajectories() {
  const address = useAddress();
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const opened = [address.open, address.beside].filter((id) => id !== null);

  return (
    <div className={`trajectories opened-${opened.length}`}>
      <section className="listing" aria-label="The log">
        <h1 className="hidden">Trajectories</h1>
        <Filters conditions={address.conditions} onChange={address.filter} onOpen={(id) => address.change({ open: id })} />
        {selected.size > 0 && <Selected ids={selected} onChange={setSelected} onCompare={(open, beside) => address.change({ open, beside })} />}
        <List
          key={JSON.stringify(address.conditions)}
          conditions={address.conditions}
          open={address.open}
          onOpen={(open) => address.change({ open })}
          selected={selected}
          onSelect={setSelected}
        />
      </section>
      {address.open && (
        <Detail
          key={address.open}
          id={address.open}
          view={address.view}
          onView={(view) => address.change({ view })}
          onOpen={(open) => address.change({ open })}
          onBeside={(beside) => address.change({ beside })}
          onClose={() => address.change({ open: address.beside, beside: null })}
        />
      )}
      {address.beside && (
        <Detail
          key={`beside ${address.beside}`}
          id={address.beside}
          view={address.view}
          onView={(view) => address.change({ view })}
          onOpen={(beside) => address.change({ beside })}
          onClose={() => address.change({ beside: null })}
        />
      )}
    </div>
  );
}
